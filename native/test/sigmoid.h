#pragma once

#include <cstdint>
#include <random>

#include "test/case.h"

namespace infonce::test {

// A problem of the sigmoid loss.
struct Sigmoid : Inputs {
  int64_t rows, columns, dim;

  Sigmoid(std::mt19937 &random, int32_t positive, int64_t rows, int64_t columns, int64_t dim, double bias,
          infonce_reduction reduction)
      : rows(rows), columns(columns), dim(dim) {
    problem.struct_size = sizeof problem;
    problem.matrix_count = 2;
    problem.block_count = problem.softmax_count = 1;
    problem.blocks[0] = block_of(0, 1, 0, -1);
    infonce_softmax &softmax = problem.softmaxes[0];
    softmax.positive = positive;
    softmax.positive_matrices = bit_of(1);
    softmax.row_loss = INFONCE_ROW_LOSS_SIGMOID;
    softmax.weight = 1;
    problem.reduction = reduction;
    problem.normalize = problem.gradient = 1;
    problem.ranks = positive != INFONCE_POSITIVE_NONE;
    problem.dim = dim;
    problem.scale = 10;
    problem.bias = bias;
    for (int m = 0; m < 2; ++m) {
      const int64_t count = m == 0 ? rows : columns;
      matrices[m] = random_rows(random, count, dim, 0);
      infonce_matrix &matrix = problem.matrices[m];
      matrix.data = &matrices[m][0];
      matrix.rows = count;
      matrix.views = 1;
      if (positive != INFONCE_POSITIVE_SAME_ID_ELSEWHERE) continue;
      ids[m] = Buffer<int32_t>(size_t(count));
      std::uniform_int_distribution<int32_t> id(-3, int32_t(rows / 2));
      for (int64_t i = 0; i < count; ++i) ids[m][i] = id(random);
      matrix.ids = &ids[m][0];
    }
    if (reduction == INFONCE_REDUCTION_NONE) {
      grad_output = random_weights(random, rows, 0);
      problem.grad_output = {&grad_output[0], rows, INFONCE_ON_HOST};
    }
  }

  bool is_positive(int64_t i, int64_t j) const {
    switch (problem.softmaxes[0].positive) {
      case INFONCE_POSITIVE_SAME_INDEX:
        return i == j;
      case INFONCE_POSITIVE_SAME_ID_ELSEWHERE:
        return ids[0][i] == ids[1][j];
      default:
        return false;
    }
  }
};

}  // namespace infonce::test

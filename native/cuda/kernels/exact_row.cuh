// A prepared row in float64, as the exact passes read it.
#pragma once

#include "common/constants.h"
#include "cuda/kernels/tasks.h"
#include "cuda/kernels/warp.cuh"

namespace infonce::cuda {

constexpr int kRowsPerBlock = 8;  // a warp each
// Logits that differ by less, times scale * |u| |v|, are a tie: a duplicate of the positive, although the two logits were
// summed in other orders. Far above float64's rounding, far below float32's.
constexpr double kTie = 1e-13;

struct ExactRow {
  const float *data;
  double inverse;

  __device__ ExactRow(const Tower &tower, int64_t r)
      : data(tower.source + tower.source_row(r) * tower.source_stride), inverse(tower.inverse_norm[r]) {}
  __device__ double operator[](int64_t d) const { return data[d] * inverse; }
};

// The sum of multiply(d) over the dimension by a warp.
template <class Multiply> __device__ double sum_over_dim(int64_t dim, Multiply &&multiply) {
  double sum = 0;
  for (int64_t d = threadIdx.x % kWarp; d < dim; d += kWarp) sum += multiply(d);
  return warp_sum(sum);
}

}  // namespace infonce::cuda

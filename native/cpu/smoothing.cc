// What label smoothing adds to losses and gradients.
#include "common/smoothing.h"

#include "cpu/passes.h"

namespace infonce::cpu {

// A task is a panel of the dimension: its rows stand side by side, and their order is always the same.
template <class Scalar> void Passes<Scalar>::sum_smoothed() {
  if (smoothing() == 0) return;
  const int64_t dim = problem_.dim, panel = kernels_.panel, panels = padded_dim() / panel;
  pool_.parallel(problem_.matrix_count * panels, [&](int64_t task, int thread) {
    const int matrix = int(task / panels);
    const int64_t first = task % panels * panel, count = std::min(panel, dim - first);
    const Operand<Scalar> &rows = operand(matrix, thread);
    const Scalar *values = rows.row_panels + first * rows.padded_rows;
    double *sum = row_sum(matrix) + first, *weighted = weighted_row_sum(matrix) + first;
    std::fill_n(sum, count, 0.0);
    std::fill_n(weighted, count, 0.0);
    bool has_losses = false;
    for (int s = 0; s < softmax_count(); ++s) has_losses |= problem_.softmaxes[s].anchors == matrix;
    for (int64_t i = 0; i < layout_.rows(matrix); ++i, values += panel) {
      const double g = has_losses && pairs_.positive_count(i) > 0 ? upstream_.relative(i) : 0;
      for (int64_t d = 0; d < count; ++d) {
        sum[d] += values[d];
        weighted[d] += g * values[d];
      }
    }
  });
}

// After the row's cross-entropy.
template <class Scalar> void Passes<Scalar>::smooth(int index, int64_t i, double positive_logit, int thread) {
  const Smoothing smoothing = smoothing_of(problem_, index);
  if (smoothing.amount == 0) return;
  const int anchors = problem_.softmaxes[index].anchors;
  const Operand<Scalar> &rows = operand(anchors, thread);
  const int64_t panel = kernels_.panel;
  double dots = smoothing.positive_is_apart ? 0 : -margin(), total = smoothing.positive_is_apart ? positive_logit : 0;
  for_each_candidate_matrix(problem_, index, [&](int matrix) {
    const double *sum = row_sum(matrix);
    for (int64_t d = 0; d < problem_.dim; ++d)
      dots += sum[d] * rows.row_panels[(d / panel * rows.padded_rows + i) * panel + d % panel];
    if (matrix == anchors) dots -= kernels_.dot(rows, i, rows, i);
    for (int64_t j = 0; problem_.matrices[matrix].bias && j < layout_.rows(matrix); ++j)
      total += pairs_.bias(layout_.first(matrix) + j);
  });
  total += problem_.scale * dots;
  SoftmaxRows<Scalar> &softmax = softmaxes[index];
  softmax.loss[i] += smoothing.amount * (positive_logit - total / smoothing.candidates);
  softmax.rest_share[i] -= smoothing.of_positive();
}

template <class Scalar>
void Passes<Scalar>::add_smoothing(int matrix, Partners partners, int64_t first, int64_t count, Scalar *accumulators,
                                   int64_t accumulator_rows, int thread) {
  const int64_t dim = problem_.dim;
  for (int s = 0; s < softmax_count(); ++s) {
    const int anchors = problem_.softmaxes[s].anchors;
    const double each = smoothing_of(problem_, s).of_candidate();
    for_each_candidate_matrix(problem_, s, [&](int candidates) {
      const bool among_anchors = candidates == anchors;
      if (among_anchors != (partners == Partners::kAmongAnchors)) return;
      for (int64_t r = 0; r < count; ++r) {
        Scalar *const row = accumulators + r * kernels_.panel;
        const bool has_loss = matrix == anchors && pairs_.positive_count(first + r) > 0;
        const double g = has_loss ? upstream_.relative(first + r) : 0;
        if (matrix == anchors) kernels_.add_vector(row, accumulator_rows, each * g, row_sum(candidates), dim);
        if (matrix == candidates) kernels_.add_vector(row, accumulator_rows, each, weighted_row_sum(anchors), dim);
        // The row itself, in both sums.
        if (matrix == anchors && among_anchors)
          kernels_.add_row(row, accumulator_rows, -2 * each * g, operand(matrix, thread), first + r);
      }
    });
  }
}

template void Passes<float>::sum_smoothed();
template void Passes<double>::sum_smoothed();
template void Passes<float>::smooth(int, int64_t, double, int);
template void Passes<double>::smooth(int, int64_t, double, int);
template void Passes<float>::add_smoothing(int, Partners, int64_t, int64_t, float *, int64_t, int);
template void Passes<double>::add_smoothing(int, Partners, int64_t, int64_t, double *, int64_t, int);

}  // namespace infonce::cpu

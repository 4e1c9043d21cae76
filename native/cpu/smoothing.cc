// The terms of label smoothing in losses and gradients.
#include "common/smoothing.h"

#include "cpu/passes.h"

namespace infonce::cpu {

// In a panel of the dimension the rows stand side by side, and their order is always the same.
template <class Scalar>
template <class Weight>
void Passes<Scalar>::sum_rows(int matrix, int64_t panel, int64_t first, int64_t end, const RowSums &sums,
                              Weight &&weight, int thread) {
  const int64_t width = kernels_.panel, before = panel * width, count = std::min(width, problem_.dim - before);
  const Operand<Scalar> &rows = operand(matrix, thread);
  const Scalar *values = rows.row_panels + before * rows.padded_rows + first * width;
  double *plain = sums.plain + before, *weighted = sums.weighted + before;
  std::fill_n(plain, count, 0.0);
  std::fill_n(weighted, count, 0.0);
  for (int64_t i = first; i < end; ++i, values += width) {
    const double g = weight(i);
    for (int64_t d = 0; d < count; ++d) {
      plain[d] += values[d];
      weighted[d] += g * values[d];
    }
  }
}

template <class Scalar> void Passes<Scalar>::sum_smoothed() {
  if (smoothing() == 0) return;
  const int64_t panels = padded_dim() / kernels_.panel;
  pool_.parallel(problem_.matrix_count * panels, [&](int64_t task, int thread) {
    const int matrix = int(task / panels);
    bool has_losses = false;
    for (int s = 0; s < softmax_count(); ++s) has_losses |= problem_.softmaxes[s].anchors == matrix;
    const auto weight = [&](int64_t i) { return has_losses && positive_count(i) > 0 ? upstream_.relative(i) : 0; };
    sum_rows(matrix, task % panels, 0, layout_.rows(matrix), row_sums_of(matrix), weight, thread);
  });
}

// Of the part's rows, which weigh something where they have a loss elsewhere, and of the anchors that they meet.
template <class Scalar> void Passes<Scalar>::sum_part() {
  const int64_t dim = problem_.dim, panels = padded_dim() / kernels_.panel;
  const double *weights = part_->column_softmax == kNone ? nullptr : part_->given->columns.weight;
  part_->sums.resize(2 * dim);
  part_->sums_of_anchors.resize(2 * dim);
  pool_.parallel(2 * panels, [&](int64_t task, int thread) {
    if (task < panels) {
      const auto weight = [&](int64_t j) { return weights ? weights[j] / upstream_.largest : 0; };
      const RowSums sums = {part_->sums.data(), part_->sums.data() + dim};
      return sum_rows(kPart, task, 0, part_->block.columns.rows, sums, weight, thread);
    }
    const auto weight = [&](int64_t i) { return positive_count(i) > 0 ? upstream_.relative(i) : 0; };
    const RowSums sums = {part_->sums_of_anchors.data(), part_->sums_of_anchors.data() + dim};
    sum_rows(layout_.anchors(), task - panels, part_->first_anchor, part_->end_anchor, sums, weight, thread);
  });
}

template <class Scalar> void Passes<Scalar>::smooth_part() {
  if (!smooths_part()) return;
  sum_part();
  const infonce_part &given = *part_->given;
  const int64_t rows_of_part = part_->block.columns.rows;
  double bias = 0;
  for (int64_t j = 0; given.candidates.bias && j < rows_of_part; ++j) bias += given.candidates.bias[j];
  double *logit_sum = softmaxes[part_->row_softmax].logit_sum;
  const int64_t met = part_->end_anchor - part_->first_anchor;
  pool_.parallel(blocks_of(met, kPassRows), [&](int64_t t, int thread) {
    const Operand<Scalar> &anchors = operand(layout_.anchors(), thread);
    const int64_t first = part_->first_anchor + t * kPassRows;
    for (int64_t i = first; i < std::min(first + kPassRows, part_->end_anchor); ++i)
      logit_sum[i] += problem_.scale * dot_with_sum(anchors, i, part_->sums.data()) + bias;
  });
  if (part_->column_softmax == kNone) return;
  pool_.parallel(blocks_of(rows_of_part, kPassRows), [&](int64_t t, int thread) {
    const Operand<Scalar> &rows = operand(kPart, thread);
    for (int64_t j = t * kPassRows; j < std::min((t + 1) * kPassRows, rows_of_part); ++j)
      given.columns.logit_sum[j] += problem_.scale * dot_with_sum(rows, j, part_->sums_of_anchors.data());
  });
}

template <class Scalar> void Passes<Scalar>::begin_smoothing_of_part() {
  if (smooths_part()) sum_part();
}

template <class Scalar>
void Passes<Scalar>::add_smoothing_of_part(bool of_anchors, int64_t first, int64_t count, Scalar *accumulators,
                                           int64_t accumulator_rows) {
  if (!smooths_part()) return;
  const int64_t dim = problem_.dim;
  const double of_rows = smoothing_of(problem_, part_->row_softmax).of_candidate();
  const bool has_columns = part_->column_softmax != kNone;
  const double of_columns = has_columns ? smoothing_of(problem_, part_->column_softmax).of_candidate() : 0;
  // Of the other side, and what the rows of this one weigh.
  const std::vector<double> &others = of_anchors ? part_->sums : part_->sums_of_anchors;
  const double own = of_anchors ? of_rows : of_columns, of_others = of_anchors ? of_columns : of_rows;
  const int64_t begin = of_anchors ? std::max(first, part_->first_anchor) : first;
  const int64_t end = std::min(first + count, of_anchors ? part_->end_anchor : part_->block.columns.rows);
  for (int64_t row = begin; row < end; ++row) {
    double g = 0;
    if (!of_anchors) g = has_columns ? part_->given->columns.weight[row] / upstream_.largest : 0;
    else if (positive_count(row) > 0) g = upstream_.relative(row);
    Scalar *const to = accumulators + (row - first) * kernels_.panel;
    kernels_.add_vector(to, accumulator_rows, own * g, others.data(), dim);
    kernels_.add_vector(to, accumulator_rows, of_others, others.data() + dim, dim);
  }
}

// After the row's cross-entropy.
template <class Scalar> void Passes<Scalar>::smooth(int index, int64_t i, double positive_logit, int thread) {
  const Smoothing smoothing = smoothing_of(problem_, index);
  if (smoothing.amount == 0) return;
  const int anchors = problem_.softmaxes[index].anchors;
  const Operand<Scalar> &rows = operand(anchors, thread);
  double dots = smoothing.positive_is_apart ? 0 : -margin(), total = smoothing.positive_is_apart ? positive_logit : 0;
  for_each_candidate_matrix(problem_, index, [&](int matrix) {
    dots += dot_with_sum(rows, i, row_sum(matrix));
    if (matrix == anchors) dots -= kernels_.dot(rows, i, rows, i);
    for (int64_t j = 0; problem_.matrices[matrix].bias && j < layout_.rows(matrix); ++j)
      total += pairs_.bias(layout_.first(matrix) + j);
  });
  total += problem_.scale * dots;
  SoftmaxRows<Scalar> &softmax = softmaxes[index];
  if (softmax.logit_sum) total += softmax.logit_sum[i];
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
        const bool has_loss = matrix == anchors && positive_count(first + r) > 0;
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
template void Passes<float>::sum_part();
template void Passes<double>::sum_part();
template void Passes<float>::smooth_part();
template void Passes<double>::smooth_part();
template void Passes<float>::begin_smoothing_of_part();
template void Passes<double>::begin_smoothing_of_part();
template void Passes<float>::add_smoothing_of_part(bool, int64_t, int64_t, float *, int64_t);
template void Passes<double>::add_smoothing_of_part(bool, int64_t, int64_t, double *, int64_t);
template void Passes<float>::smooth(int, int64_t, double, int);
template void Passes<double>::smooth(int, int64_t, double, int);
template void Passes<float>::add_smoothing(int, Partners, int64_t, int64_t, float *, int64_t, int);
template void Passes<double>::add_smoothing(int, Partners, int64_t, int64_t, double *, int64_t, int);

}  // namespace infonce::cpu

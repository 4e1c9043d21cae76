#include "cpu/paired_negatives.h"

#include "cpu/paired_row.h"

namespace infonce::cpu {
PairedNegatives::PairedNegatives(const Request &request, const Kernels &kernels, ThreadPool &pool)
    : request_(request),
      problem_(request.problem),
      kernels_(kernels),
      pool_(pool),
      matrices_{problem_.softmaxes[0].anchors, positives_elsewhere(problem_.softmaxes[0]),
                problem_.blocks[0].candidates},
      queries_(matrix(kQueries).rows),
      negatives_(matrix(kNegatives).rows / queries_),
      upstream_(upstream_of(problem_)),
      scratch_(pool.active_threads()) {
  for (const InputName input : {kQueries, kKeys, kNegatives}) {
    const infonce_matrix &of = matrix(input);
    inputs_[input] = Input(of, problem_.dim, kernels);
    copies_[input] = {nullptr, of.rows / queries_};
  }
  if (const float *bias = matrix(kKeys).bias) key_bias_.assign(bias, bias + queries_);
  if (const int32_t *counts = matrix(kNegatives).counts) counts_.assign(counts, counts + queries_);
}

void PairedNegatives::take_kept(Workspace::Cursor &cursor) {
  if (!request_.in_halves) return;
  for (int input = 0; input < kInputs; ++input) {
    Copy &copy = copies_[input];
    copy.to = cursor.take<std::byte>(queries_ * copy.rows * inputs_[input].row_bytes());
  }
}

void PairedNegatives::take_scratch(Workspace::Cursor &cursor) {
  outcomes_ = cursor.take<RowOutcome>(queries_);
  scratch_.resize(pool_.active_threads());
  for (RowScratch &scratch : scratch_) {
    scratch.gradient = cursor.take<double>(problem_.dim);
    scratch.dots = cursor.take<double>(negatives_);
    for (float **row : {&scratch.query, &scratch.key, &scratch.negative}) *row = cursor.take<float>(problem_.dim);
  }
}

Outcome PairedNegatives::close(infonce_result *result) {
  pool_.parallel(queries_, [&](int64_t i, int thread) {
    outcomes_[i] = row(i, scratch_[thread], result);
    if (!request_.in_halves) return;
    for (int input = 0; input < kInputs; ++input) {
      const Copy &copy = copies_[input];
      inputs_[input].copy_rows(i * copy.rows, copy.rows, copy.to);
    }
  });
  double loss = 0, top1 = 0, top5 = 0;
  for (int64_t i = 0; i < queries_; ++i) {
    if (outcomes_[i].bad.row >= 0) return {true, outcomes_[i].bad};
    loss += outcomes_[i].loss;
    top1 += outcomes_[i].above < 1;
    top5 += outcomes_[i].above < 5;
    if (problem_.reduction == INFONCE_REDUCTION_NONE) result->row_loss.data[i] = float(outcomes_[i].loss);
    if (result->rows[0].loss) result->rows[0].loss[i] = outcomes_[i].loss;
    if (result->rows[0].above && problem_.ranks) result->rows[0].above[i] = int32_t(outcomes_[i].above);
  }
  const double count = double(queries_);
  result->scalars.loss = problem_.reduction == INFONCE_REDUCTION_MEAN ? loss / count : loss;
  gradients_are_written_ = problem_.gradient != 0;
  if (problem_.ranks) {
    result->scalars.top1 = top1 / count;
    result->scalars.top5 = top5 / count;
  }
  if (request_.in_halves)
    for (int input = 0; input < kInputs; ++input) inputs_[input].move_to(copies_[input].to);
  return {};
}

void PairedNegatives::open_gradient() {
  upstream_ = upstream_of(problem_);
  gradients_are_written_ = false;
}

void PairedNegatives::close_gradient(infonce_result *result) {
  if (!gradients_are_written_)
    pool_.parallel(queries_, [&](int64_t i, int thread) { outcomes_[i] = row(i, scratch_[thread], result); });
  double radial = 0;
  for (int64_t i = 0; i < queries_; ++i) radial += outcomes_[i].radial;
  result->scalars.grad_scale = radial / problem_.scale;
}

// Loss and, when they are asked for, gradients at once, while the row's negatives are near.
PairedNegatives::RowOutcome PairedNegatives::row(int64_t i, const RowScratch &scratch, infonce_result *result) const {
  const int64_t dim = problem_.dim, count = count_of(i);
  const double scale = scale_of(problem_, problem_.blocks[0]);
  const auto own = [&](int64_t m) { return inputs_[kNegatives].rows(i * negatives_ + m, 1, scratch.negative); };
  const auto gradient_of = [&](InputName input) { return result->gradients[matrices_[input]].data; };
  PairedRow rows(problem_, kernels_, scratch.gradient);
  RowOutcome outcome{};
  const auto check = [&](InputName input, int64_t row) {
    if (!rows.finite() && outcome.bad.row < 0) outcome.bad = {matrices_[input], row};
  };

  const PlainRow query = rows.row(inputs_[kQueries].rows(i, 1, scratch.query));
  check(kQueries, i);
  const PlainRow key = rows.row(inputs_[kKeys].rows(i, 1, scratch.key));
  check(kKeys, i);
  const double positive = rows.dot(query, key), margin = problem_.softmaxes[0].margin,
               bias = key_bias_.empty() ? 0 : double(key_bias_[i]);
  RowLoss<INFONCE_ROW_LOSS_CROSS_ENTROPY> loss(0, 0, 1);
  for (int64_t m = 0; m < count && !pool_.cancelled(); ++m) {
    const PlainRow negative = rows.row(own(m));
    check(kNegatives, i * negatives_ + m);
    scratch.dots[m] = rows.dot(query, negative);
    outcome.above += scratch.dots[m] > positive + bias / problem_.scale - margin;
    loss.add(scale * scratch.dots[m], false);
  }
  loss.add(problem_.scale * positive + bias - problem_.scale * margin, true);
  loss.close();
  outcome.loss = loss.loss();
  if (!problem_.gradient || outcome.bad.row >= 0) return outcome;

  const double g = upstream_.relative(i), factor = problem_.scale * upstream_.largest;
  float *const grad_negatives = gradient_of(kNegatives);
  const double log_sum_exp = loss.log_sum_exp();
  const double positive_weight = g * only_positive_weight(loss.rest_share());
  rows.clear();
  rows.add(key, positive_weight);
  rows.write_gradient(key, query, positive_weight * factor, positive, gradient_of(kKeys) + i * dim);
  for (int64_t m = 0; m < count && !pool_.cancelled(); ++m) {
    const PlainRow negative = rows.row(own(m));
    const double weight = g * negative_weight(scale * scratch.dots[m], log_sum_exp);
    rows.add(negative, weight);
    if (!grad_negatives) continue;
    rows.write_gradient(negative, query, weight * factor, scratch.dots[m], grad_negatives + (i * negatives_ + m) * dim);
  }
  if (grad_negatives) {
    float *const end = grad_negatives + (i + 1) * negatives_ * dim;
    std::fill(end - (negatives_ - count) * dim, end, 0.0f);
  }
  outcome.radial = rows.finish(query, factor, gradient_of(kQueries) + i * dim) - positive_weight * factor * margin;
  return outcome;
}

}  // namespace infonce::cpu

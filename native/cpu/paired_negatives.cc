#include "cpu/paired_negatives.h"

#include <cstring>

namespace infonce::cpu {
namespace {

// A plain row and how it becomes a unit row; the chain back as in Operand.
struct Row {
  const float *data;
  double inverse;
  bool zero, clamped;

  double radial(bool normalize) const { return normalize && !clamped ? 1 : 0; }
  double chain() const { return zero ? 0 : inverse; }
};

class PairedRow {
 public:
  PairedRow(const infonce_problem &problem, const Kernels &kernels, const PairedNegatives::RowScratch &scratch)
      : problem_(problem), kernels_(kernels), scratch_(scratch) {}

  Row row(const float *data) const {
    const double norm = std::sqrt(kernels_.row_dot(data, data, problem_.dim));
    const bool normalize = problem_.normalize != 0;
    finite_ &= norm < 1e300;
    return {data, normalize ? 1 / std::max(norm, kSmallestNorm) : 1, normalize && norm == 0, !(norm > kSmallestNorm)};
  }
  bool finite() const { return finite_; }

  double dot(const Row &a, const Row &b) const {
    return kernels_.row_dot(a.data, b.data, problem_.dim) * a.inverse * b.inverse;
  }

  // gradient = (weight * u - radial * v <v, weight * u>) / |v| for the row v that stands against u.
  void write_gradient(const Row &v, const Row &u, double weight, double dot, float *out) const {
    const double along = v.radial(problem_.normalize) * weight * dot;
    const double of_u = v.chain() * weight * u.inverse, of_v = v.chain() * along * v.inverse;
    for (int64_t d = 0; d < problem_.dim; ++d) out[d] = float(of_u * u.data[d] - of_v * v.data[d]);
  }

  void add(const Row &v, double weight) {
    const double w = weight * v.inverse;
    for (int64_t d = 0; d < problem_.dim; ++d) scratch_.gradient[d] += w * v.data[d];
  }

  // Writes the query's gradient from what was added; returns <u, d loss / d u>.
  double finish(const Row &query, double factor, float *out) const {
    double along = 0;
    for (int64_t d = 0; d < problem_.dim; ++d) along += scratch_.gradient[d] * query.data[d];
    along *= query.inverse * factor;
    const double of_v = query.radial(problem_.normalize) * along * query.inverse;
    for (int64_t d = 0; d < problem_.dim; ++d)
      out[d] = float(query.chain() * (factor * scratch_.gradient[d] - of_v * query.data[d]));
    return along;
  }

 private:
  const infonce_problem &problem_;
  const Kernels &kernels_;
  PairedNegatives::RowScratch scratch_;
  mutable bool finite_ = true;
};

int64_t element_size(int32_t type) { return type == INFONCE_FLOAT32 ? sizeof(float) : sizeof(uint16_t); }

}  // namespace

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
    copies_[input] = {nullptr, of.data, of.rows / queries_ * problem_.dim * element_size(of.type)};
  }
  if (const float *bias = matrix(kKeys).bias) key_bias_.assign(bias, bias + queries_);
}

void PairedNegatives::take_kept(Workspace::Cursor &cursor) {
  if (!request_.in_halves) return;
  for (Copy &copy : copies_) copy.to = cursor.take<std::byte>(queries_ * copy.row_bytes);
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
    for (const Copy &copy : copies_) {
      const int64_t offset = i * copy.row_bytes;
      std::memcpy(copy.to + offset, static_cast<const std::byte *>(copy.from) + offset, size_t(copy.row_bytes));
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
  const int64_t dim = problem_.dim;
  const auto own = [&](int64_t m) { return inputs_[kNegatives].rows(i * negatives_ + m, 1, scratch.negative); };
  const auto gradient_of = [&](InputName input) { return result->gradients[matrices_[input]].data; };
  PairedRow rows(problem_, kernels_, scratch);
  RowOutcome outcome{};
  const auto check = [&](InputName input, int64_t row) {
    if (!rows.finite() && outcome.bad.row < 0) outcome.bad = {matrices_[input], row};
  };

  const Row query = rows.row(inputs_[kQueries].rows(i, 1, scratch.query));
  check(kQueries, i);
  const Row key = rows.row(inputs_[kKeys].rows(i, 1, scratch.key));
  check(kKeys, i);
  const double positive = rows.dot(query, key), margin = problem_.softmaxes[0].margin,
               bias = key_bias_.empty() ? 0 : double(key_bias_[i]);
  RowLoss<INFONCE_ROW_LOSS_CROSS_ENTROPY> loss(0, 0, 1);
  for (int64_t m = 0; m < negatives_ && !pool_.cancelled(); ++m) {
    const Row negative = rows.row(own(m));
    check(kNegatives, i * negatives_ + m);
    scratch.dots[m] = rows.dot(query, negative);
    outcome.above += scratch.dots[m] > positive + bias / problem_.scale - margin;
    loss.add(problem_.scale * scratch.dots[m], false);
  }
  loss.add(problem_.scale * positive + bias - problem_.scale * margin, true);
  loss.close();
  outcome.loss = loss.loss();
  if (!problem_.gradient || outcome.bad.row >= 0) return outcome;

  const double g = upstream_.relative(i), factor = problem_.scale * upstream_.largest;
  float *const grad_negatives = gradient_of(kNegatives);
  const double log_sum_exp = loss.log_sum_exp();
  const double positive_weight = g * only_positive_weight(loss.rest_share());
  std::fill(scratch.gradient, scratch.gradient + dim, 0.0);
  rows.add(key, positive_weight);
  rows.write_gradient(key, query, positive_weight * factor, positive, gradient_of(kKeys) + i * dim);
  for (int64_t m = 0; m < negatives_ && !pool_.cancelled(); ++m) {
    const Row negative = rows.row(own(m));
    const double weight = g * negative_weight(problem_.scale * scratch.dots[m], log_sum_exp);
    rows.add(negative, weight);
    if (!grad_negatives) continue;
    rows.write_gradient(negative, query, weight * factor, scratch.dots[m], grad_negatives + (i * negatives_ + m) * dim);
  }
  outcome.radial = rows.finish(query, factor, gradient_of(kQueries) + i * dim) - positive_weight * factor * margin;
  return outcome;
}

}  // namespace infonce::cpu

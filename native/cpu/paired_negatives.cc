#include "cpu/paired_negatives.h"

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

struct RowScratch {
  double *gradient;  // [dim]
  double *dots;      // [M], of unit rows
  float *query, *key, *negative;  // [dim] each, for inputs of 16 bits
};

struct Inputs {
  Input queries, keys, negatives;
};

class PairedRow {
 public:
  PairedRow(const infonce_problem &problem, const Kernels &kernels, const RowScratch &scratch)
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
  RowScratch scratch_;
  mutable bool finite_ = true;
};

struct RowOutcome {
  double loss, above, radial;
  BadRow bad;
};

RowOutcome paired_row(const infonce_problem &problem, const Inputs &inputs, const Kernels &kernels,
                      const Upstream &upstream, int64_t i, const RowScratch &scratch, infonce_result *result) {
  const int64_t dim = problem.dim, negatives = problem.negative_rows;
  const auto own = [&](int64_t m) { return inputs.negatives.rows(i * negatives + m, 1, scratch.negative); };
  PairedRow rows(problem, kernels, scratch);
  RowOutcome outcome{};
  const auto check = [&](int32_t input, int64_t row) {
    if (!rows.finite() && outcome.bad.row < 0) outcome.bad = {input, row};
  };

  const Row query = rows.row(inputs.queries.rows(i, 1, scratch.query));
  check(INFONCE_INPUT_ANCHORS, i);
  const Row key = rows.row(inputs.keys.rows(i, 1, scratch.key));
  check(INFONCE_INPUT_KEYS, i);
  const double positive = rows.dot(query, key);
  RowLoss loss(0, 0);
  for (int64_t m = 0; m < negatives && !is_cancelled(problem.cancelled); ++m) {
    const Row negative = rows.row(own(m));
    check(INFONCE_INPUT_NEGATIVES, i * negatives + m);
    scratch.dots[m] = rows.dot(query, negative);
    outcome.above += scratch.dots[m] > positive;
    loss.add(problem.scale * scratch.dots[m]);
  }
  loss.add_only_positive(problem.scale * positive);
  outcome.loss = loss.loss_of_only_positive();
  if (!problem.gradient || outcome.bad.row >= 0) return outcome;

  const double g = upstream.relative(i), factor = problem.scale * upstream.largest;
  const double log_sum_exp = loss.log_sum_exp(), positive_weight = -g * loss.rest_share();
  std::fill(scratch.gradient, scratch.gradient + dim, 0.0);
  rows.add(key, positive_weight);
  rows.write_gradient(key, query, positive_weight * factor, positive, result->grad_keys + i * dim);
  for (int64_t m = 0; m < negatives && !is_cancelled(problem.cancelled); ++m) {
    const Row negative = rows.row(own(m));
    const double weight = g * std::exp(problem.scale * scratch.dots[m] - log_sum_exp);
    rows.add(negative, weight);
    if (!result->grad_negatives) continue;
    rows.write_gradient(negative, query, weight * factor, scratch.dots[m],
                        result->grad_negatives + (i * negatives + m) * dim);
  }
  outcome.radial = rows.finish(query, factor, result->grad_anchors + i * dim);
  return outcome;
}

}  // namespace

BadRow paired_negatives(const infonce_problem &problem, const Kernels &kernels, ThreadPool &pool, Workspace &workspace,
                        infonce_result *result) {
  const Inputs inputs = {{problem.anchors, problem.anchors_type, problem.dim, kernels},
                         {problem.keys, problem.keys_type, problem.dim, kernels},
                         {problem.negatives, problem.negatives_type, problem.dim, kernels}};
  std::vector<RowScratch> scratch(pool.threads());
  RowOutcome *outcomes = nullptr;
  workspace.lay_out([&](Workspace::Cursor &cursor) {
    outcomes = cursor.take<RowOutcome>(problem.rows);
    for (RowScratch &s : scratch) {
      s.gradient = cursor.take<double>(problem.dim);
      s.dots = cursor.take<double>(problem.negative_rows);
      for (float **row : {&s.query, &s.key, &s.negative}) *row = cursor.take<float>(problem.dim);
    }
  });
  const Upstream upstream = upstream_of(problem);
  pool.parallel(problem.rows, [&](int64_t i, int thread) {
    outcomes[i] = paired_row(problem, inputs, kernels, upstream, i, scratch[thread], result);
  });

  double loss = 0, radial = 0, top1 = 0, top5 = 0;
  for (int64_t i = 0; i < problem.rows; ++i) {
    if (outcomes[i].bad.row >= 0) return outcomes[i].bad;
    loss += outcomes[i].loss;
    radial += outcomes[i].radial;
    top1 += outcomes[i].above < 1;
    top5 += outcomes[i].above < 5;
    if (problem.reduction == INFONCE_REDUCTION_NONE) result->row_loss[i] = float(outcomes[i].loss);
  }
  const double count = double(problem.rows);
  result->loss = problem.reduction == INFONCE_REDUCTION_MEAN ? loss / count : loss;
  result->top1 = top1 / count;
  result->top5 = top5 / count;
  result->grad_scale = radial / problem.scale;
  return {};
}

}  // namespace infonce::cpu

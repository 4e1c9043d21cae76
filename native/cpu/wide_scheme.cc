#include "cpu/wide_scheme.h"

namespace infonce::cpu {

WideScheme::WideScheme(const infonce_problem &problem, const Kernels &kernels, const Pairs &pairs, ThreadPool &pool,
                       Workspace &workspace)
    : problem_(problem),
      kernels_(kernels),
      pairs_(pairs),
      pool_(pool),
      passes_(problem, kernels.wide, pairs, pool),
      scratch_(pool.threads()) {
  workspace.lay_out([&](Workspace::Cursor &cursor) { take(cursor); });
}

void WideScheme::take(Workspace::Cursor &cursor) {
  passes_.take(cursor, false);
  for (ThreadScratch &scratch : scratch_) {
    scratch.logits = cursor.take<double>(kWideScratch);
    scratch.accumulators = cursor.take<double>(kWideRows * passes_.anchors.padded_dim);
  }
}

void WideScheme::run(infonce_result *result) {
  const Operand<double> &anchors = passes_.anchors, &candidates = passes_.candidates();
  const int32_t *anchor_groups = pairs_.anchor_groups(), *candidate_groups = pairs_.candidate_groups();
  const bool both = problem_.both_directions != 0;
  passes_.rank();
  passes_.sum_large_classes();
  log_sum_exp(passes_.rows, candidates, anchor_groups, candidate_groups);
  if (both) log_sum_exp(passes_.columns, anchors, candidate_groups, anchor_groups);
  passes_.losses();
  passes_.write_losses(result);
  if (!problem_.gradient) return;

  const Direction<double> *rows = &passes_.rows;
  const Direction<double> *columns = passes_.one_tower() ? rows : both ? &passes_.columns : nullptr;
  const double radial =
      gradient(anchors, rows, candidates, columns, anchor_groups, candidate_groups, result->grad_anchors);
  result->grad_scale = passes_.grad_scale(radial);
  if (passes_.one_tower()) return;
  float *candidate_output = passes_.keys_are_candidates() ? result->grad_keys : result->grad_negatives;
  gradient(candidates, columns, anchors, rows, candidate_groups, anchor_groups, candidate_output);
  // The own keys of separate negatives are in no matrix: all they get comes from their one pair.
  if (problem_.negatives) gradient(passes_.keys, nullptr, anchors, nullptr, nullptr, nullptr, result->grad_keys);
}

void WideScheme::log_sum_exp(const Direction<double> &direction, const Operand<double> &other,
                             const int32_t *owner_group, const int32_t *other_group) {
  const Operand<double> &owner = *direction.owner;
  pool_.parallel(owner.padded_rows / kWideRows, [&](int64_t t, int thread) {
    const int64_t first = t * kWideRows;
    double above[kWideRows];
    WideLogSumExp rows;
    static_cast<WideRows &>(rows) = {&owner,      &other,      first, kWideRows, problem_.scale,
                                     owner_group, other_group, scratch_[thread].logits};
    rows.owner_rank = direction.rank;
    rows.maximum = direction.offset + first;
    rows.sum = direction.sum + first;
    rows.above = above;
    kernels_.wide_log_sum_exp(rows);
    for (int r = 0; r < kWideRows; ++r) direction.above[first + r] += above[r];
  });
}

double WideScheme::gradient(const Operand<double> &owner, const Direction<double> *own, const Operand<double> &other,
                            const Direction<double> *others, const int32_t *owner_group, const int32_t *other_group,
                            float *output) {
  const int64_t tasks = owner.padded_rows / kWideRows;
  std::vector<double> radial(tasks, 0.0);
  pool_.parallel(tasks, [&](int64_t t, int thread) {
    const int64_t first = t * kWideRows, count = std::min<int64_t>(kWideRows, owner.rows - first);
    double *accumulators = scratch_[thread].accumulators;
    std::fill(accumulators, accumulators + kWideRows * owner.padded_dim, 0.0);
    if (own || others) {
      WideGradient rows{};
      static_cast<WideRows &>(rows) = {&owner,      &other,      first, kWideRows, problem_.scale,
                                       owner_group, other_group, scratch_[thread].logits};
      if (own) rows.owner_lse = own->log_sum_exp, rows.owner_weight = own->weight;
      if (others) rows.other_lse = others->log_sum_exp, rows.other_weight = others->weight;
      rows.accumulators = accumulators;
      rows.accumulator_rows = kWideRows;
      kernels_.wide_gradient(rows);
    }
    radial[t] = passes_.finish(owner, first, count, accumulators, kWideRows, output);
  });
  double total = 0;
  for (const double along : radial) total += along;
  return total;
}

}  // namespace infonce::cpu

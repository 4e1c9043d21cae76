#include "cpu/wide_scheme.h"

namespace infonce::cpu {
namespace {
constexpr int64_t kStepRows = 8192;  // of the other side in one go: a multiple of kWideColumns
}

WideScheme::WideScheme(const infonce_problem &problem, const Kernels &kernels, const Pairs &pairs, ThreadPool &pool,
                       Workspace &workspace)
    : problem_(problem),
      kernels_(kernels),
      pairs_(pairs),
      pool_(pool),
      passes_(problem, kernels, pairs, pool),
      scratch_(pool.threads()) {
  workspace.lay_out([&](Workspace::Cursor &cursor) { take(cursor); });
}

void WideScheme::take(Workspace::Cursor &cursor) {
  passes_.take(cursor, false);
  for (ThreadScratch &scratch : scratch_) {
    scratch.logits = cursor.take<double>(kWideScratch);
    scratch.accumulators = cursor.take<double>(kWideRows * passes_.padded_dim());
  }
}

void WideScheme::run(infonce_result *result) {
  const bool one_tower = passes_.one_tower();
  const Side rows = {kAnchors, &passes_.rows, pairs_.anchor_groups()};
  const Side columns = {passes_.candidates(),
                        one_tower ? &passes_.rows : passes_.has_columns() ? &passes_.columns : nullptr,
                        pairs_.candidate_groups()};
  passes_.rank();
  passes_.sum_large_classes();
  log_sum_exp(rows, columns);
  if (passes_.has_columns()) log_sum_exp(columns, rows);
  passes_.losses();
  passes_.write_losses(result);
  if (!problem_.gradient) return;

  result->grad_scale = passes_.grad_scale(gradient(rows, columns, result->grad_anchors));
  if (one_tower) return;
  if (passes_.keys_are_candidates()) {
    gradient(columns, rows, result->grad_keys);
    return;
  }
  if (result->grad_negatives) gradient(columns, rows, result->grad_negatives);
  // The own keys of separate negatives are in no matrix: all they get comes from their one pair.
  gradient({kKeys, nullptr, nullptr}, {kAnchors, nullptr, nullptr}, result->grad_keys);
}

void WideScheme::log_sum_exp(const Side &owner, const Side &other) {
  const Direction<double> &direction = *owner.direction;
  pool_.parallel(passes_.padded_rows_of(owner.tower) / kWideRows, [&](int64_t t, int thread) {
    const int64_t first = t * kWideRows;
    WideLogSumExp rows;
    static_cast<WideRows &>(rows) = wide_rows(owner, other, first, thread);
    rows.owner_rank = direction.rank;
    rows.maximum = direction.offset + first;
    rows.sum = direction.sum + first;
    rows.above = direction.above + first;
    std::fill(rows.maximum, rows.maximum + kWideRows, -std::numeric_limits<double>::infinity());
    std::fill(rows.sum, rows.sum + kWideRows, 0.0);
    walk(rows, kernels_.wide_log_sum_exp);
  });
}

// In steps, so that a cancelled call soon ends.
template <class Rows> void WideScheme::walk(Rows rows, void (*kernel)(const Rows &)) const {
  for (int64_t first = 0; first < rows.other->padded_rows && !pool_.cancelled(); first += kStepRows) {
    rows.other_first = first;
    rows.other_end = std::min(first + kStepRows, rows.other->padded_rows);
    kernel(rows);
  }
}

double WideScheme::gradient(const Side &owner, const Side &other, float *output) {
  const int64_t tasks = passes_.padded_rows_of(owner.tower) / kWideRows;
  std::vector<double> radial(tasks, 0.0);
  pool_.parallel(tasks, [&](int64_t t, int thread) {
    const int64_t first = t * kWideRows, count = std::min<int64_t>(kWideRows, passes_.rows_of(owner.tower) - first);
    double *accumulators = scratch_[thread].accumulators;
    std::fill(accumulators, accumulators + kWideRows * passes_.padded_dim(), 0.0);
    if (owner.direction || other.direction) {
      WideGradient rows{};
      static_cast<WideRows &>(rows) = wide_rows(owner, other, first, thread);
      if (owner.direction) {
        rows.owner_lse = owner.direction->log_sum_exp;
        rows.owner_weight = owner.direction->weight;
      }
      if (other.direction) {
        rows.other_lse = other.direction->log_sum_exp;
        rows.other_weight = other.direction->weight;
      }
      rows.accumulators = accumulators;
      rows.accumulator_rows = kWideRows;
      walk(rows, kernels_.wide_gradient);
    }
    radial[t] = passes_.finish(owner.tower, first, count, accumulators, kWideRows, output, thread);
  });
  double total = 0;
  for (const double along : radial) total += along;
  return total;
}

WideRows WideScheme::wide_rows(const Side &owner, const Side &other, int64_t first, int thread) {
  return {&passes_.operand(owner.tower, thread),
          &passes_.operand(other.tower, thread),
          first,
          kWideRows,
          0,
          0,
          problem_.scale,
          owner.groups,
          other.groups,
          scratch_[thread].logits};
}

}  // namespace infonce::cpu

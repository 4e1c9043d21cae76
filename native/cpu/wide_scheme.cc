#include "cpu/wide_scheme.h"

namespace infonce::cpu {
namespace {
constexpr int64_t kStepRows = 8192;  // of the other side in one go: a multiple of kWideColumns
}

WideScheme::WideScheme(const Request &request, const Kernels &kernels, const Pairs &pairs, ThreadPool &pool)
    : problem_(request.problem),
      kernels_(kernels),
      pairs_(pairs),
      pool_(pool),
      passes_(request, kernels, pairs, pool),
      scratch_(pool.threads()) {}

void WideScheme::take_scratch(Workspace::Cursor &cursor) {
  passes_.take_scratch(cursor);
  for (ThreadScratch &scratch : scratch_) {
    scratch.logits = cursor.take<double>(kWideScratch);
    scratch.accumulators = cursor.take<double>(kWideRows * passes_.padded_dim());
  }
}

WideScheme::Side WideScheme::columns() const {
  const Direction<double> *direction = passes_.one_tower()     ? &passes_.rows
                                       : passes_.has_columns() ? &passes_.columns
                                                               : nullptr;
  return {passes_.candidates(), direction, pairs_.candidate_groups()};
}

Outcome WideScheme::forward(infonce_result *result) {
  if (const BadRow bad = passes_.prepare(); bad.row >= 0) return {true, bad};
  passes_.rank();
  passes_.sum_large_classes();
  log_sum_exp(rows(), columns());
  if (passes_.has_columns()) log_sum_exp(columns(), rows());
  passes_.losses();
  passes_.write_losses(result);
  return {};
}

void WideScheme::backward(infonce_result *result) {
  result->scalars.grad_scale = gradient(rows(), columns(), passes_.gradient_of(kAnchors, *result));
  if (passes_.one_tower()) return;
  if (passes_.keys_are_candidates()) {
    gradient(columns(), rows(), passes_.gradient_of(kKeys, *result));
    return;
  }
  float *const negatives = passes_.gradient_of(kNegatives, *result);
  if (negatives) gradient(columns(), rows(), negatives);
  // The own keys of separate negatives are in no matrix: all they get comes from their one pair.
  gradient({kKeys, nullptr, nullptr}, {kAnchors, nullptr, nullptr}, passes_.gradient_of(kKeys, *result));
}

void WideScheme::log_sum_exp(const Side &owner, const Side &other) {
  const Direction<double> &direction = *owner.direction;
  pool_.parallel(blocks_of(passes_.rows_of(owner.tower), kWideRows), [&](int64_t t, int thread) {
    const int64_t first = t * kWideRows;
    WideLogSumExp rows;
    static_cast<WideRows &>(rows) = wide_rows(owner, other, first, thread);
    rows.owner_rank = direction.rank;
    rows.maximum = direction.offset + first;
    rows.sum = direction.sum + first;
    rows.above = problem_.ranks ? direction.above + first : nullptr;
    std::fill(rows.maximum, rows.maximum + kWideRows, -std::numeric_limits<double>::infinity());
    std::fill(rows.sum, rows.sum + kWideRows, 0.0);
    walk(rows, 0, rows.other->padded_rows, kernels_.wide_log_sum_exp);
  });
}

// In steps, so that a cancelled call soon ends.
template <class Rows> void WideScheme::walk(Rows rows, int64_t first, int64_t end, void (*kernel)(const Rows &)) const {
  for (; first < end && !pool_.cancelled(); first += kStepRows) {
    rows.other_first = first;
    rows.other_end = std::min(first + kStepRows, end);
    kernel(rows);
  }
}

// Returns d loss / d scale as the owner's side sees it.
double WideScheme::gradient(const Side &owner, const Side &other, float *output) {
  const int64_t tasks = blocks_of(passes_.rows_of(owner.tower), kWideRows), memory_first = passes_.memory_first();
  std::vector<double> radial(tasks, 0.0), memory_radial(tasks, 0.0);
  pool_.parallel(tasks, [&](int64_t t, int thread) {
    const int64_t first = t * kWideRows, count = std::min<int64_t>(kWideRows, passes_.rows_of(owner.tower) - first);
    double *accumulators = scratch_[thread].accumulators;
    std::fill(accumulators, accumulators + kWideRows * passes_.padded_dim(), 0.0);
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
    int64_t other_end = owner.direction || other.direction ? rows.other->padded_rows : 0;
    if (passes_.has_memory()) {
      walk(rows, memory_first, other_end, kernels_.wide_gradient);
      memory_radial[t] = passes_.finish_memory(first, count, accumulators, kWideRows, thread);
      other_end = memory_first;
    }
    walk(rows, 0, other_end, kernels_.wide_gradient);
    radial[t] = passes_.finish(owner.tower, first, count, accumulators, kWideRows, output, thread);
  });
  double along = 0, with_memory = 0;
  for (int64_t t = 0; t < tasks; ++t) along += radial[t], with_memory += memory_radial[t];
  return passes_.grad_scale(along, with_memory);
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

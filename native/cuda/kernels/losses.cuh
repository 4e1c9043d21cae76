// Each row's loss from its sums and pairs, and what the gradient needs of it; then the totals.
#pragma once

#include "common/constants.h"
#include "common/row_loss.h"
#include "cuda/kernels/exact_row.cuh"
#include "cuda/kernels/partial_sums.cuh"
#include "cuda/kernels/totals.cuh"
#include "cuda/kernels/trace.cuh"

namespace infonce::cuda {

constexpr int kLossesThreads = 128;

// Of a debiased loss whose harder negatives count more: the second direction has their weights.
__device__ inline void hard_loss_of_row(const LossesTask &task, int64_t i) {
  const Direction &hard = task.rows, &weights = task.columns;
  const Debiasing &debiasing = task.debiasing;
  hard.all_above[i] = hard.above[i];
  const bool real = i < task.anchors.rows, has_negatives = real && hard.sum[i] > 0;
  const HardSums sums = {hard.offset[i] + log(hard.sum[i]), weights.offset[i] + log(weights.sum[i])};
  const double offset = has_negatives ? sums.log_sum(debiasing.negatives) : hard.offset[i];
  RowLoss<INFONCE_ROW_LOSS_DEBIASED> row(has_negatives ? 1 : 0, offset, 1, debiasing);
  if (real) row.add(task.logits.at(0, i), true);
  row.close();
  const double g = real ? task.upstream.relative(task.anchors.source_row(i)) : 0, lse = row.log_sum_exp();
  hard.loss[i] = real ? row.loss() : 0;
  hard.rest_share[i] = real ? row.rest_share() : 0;
  hard.upstream[i] = g, weights.upstream[i] = -g;
  hard.log_sum_exp[i] = has_negatives ? sums.first(debiasing.negatives, debiasing.beta, lse) : INFINITY;
  weights.log_sum_exp[i] = has_negatives ? sums.second(debiasing.negatives, debiasing.beta, lse) : INFINITY;
}

template <int32_t kRowLoss> __device__ void loss_of_row(const LossesTask &task, int d, int64_t i) {
  const Direction &direction = d == 0 ? task.rows : task.columns;
  const bool real = i < task.anchors.rows;
  const Range range = !real || !task.pairs.apart ? Range{0, 0} : task.pairs.apart[i];
  const Range large = !real || !task.pairs.classes ? Range{0, 0} : task.pairs.classes[i];
  const bool in_large_class = large.size() > 0;
  const Range *in_memory = in_large_class ? task.memory.classes : task.memory.apart;
  const int64_t of_memory = real && in_memory ? in_memory[i].size() : 0;
  const int64_t partners = !real ? 0 : of_memory + (in_large_class ? large.size() - 1 : task.rule.partners(range));
  int32_t above = direction.above[i];
  direction.all_above[i] = above;
  const FurtherSums &further = task.further[d];
  const int64_t further_count = real && further.count ? further.count[i] : 0;
  if (partners + further_count == 0) {
    direction.loss[i] = direction.rest_share[i] = direction.upstream[i] = 0;
    direction.weight[i] = direction.target[i] = 0;
    direction.log_sum_exp[i] = INFINITY, direction.log2_sum[i] = INFINITY;
    return;
  }
  const int64_t positives = further_count + (in_large_class ? partners : task.rule.first_only ? 1 : partners);
  RowLoss<kRowLoss> row(direction.sum[i], direction.offset[i], positives, task.debiasing, task.multiplicity[d]);
  if (further_count > 0 && positives == 1) row.add(further.sum[i], true);
  else if (further_count > 0) row.add_positives(further.log_sum_exp[i], further.sum[i]);
  if (further_count > 0 && further.term_losses) row.add_terms({further.term_losses[i], further.term_shares[i]});
  if (kRowLoss == INFONCE_ROW_LOSS_DECOUPLED && task.positive_weights) row.weigh_positives(task.positive_weights[i]);
  if (in_large_class) {
    row.close_with_mean(task.logits.at(0, i));
  } else {
    for (int64_t slot = 0; slot < partners; ++slot) {
      const double s = task.logits.at(slot, i);
      const bool is_positive = slot == 0 || !task.rule.first_only;
      row.add(s, is_positive);
      if (has_positives(kRowLoss) || !is_positive) above += s > task.logits.first[i];
    }
    row.close();
  }
  direction.loss[i] = row.loss();
  direction.all_above[i] = above;
  const double g = task.upstream.relative(task.anchors.source_row(i)), log_sum_exp = row.log_sum_exp();
  const float log2_sum = float(log_sum_exp * kLog2E);
  direction.upstream[i] = g;
  direction.rest_share[i] = row.rest_share();
  // Of one by index beside others, too, minus what its logit weighs.
  if (further_count > 0 && partners > 0)
    direction.rest_share[i] = -RowLoss<kRowLoss>::pair_weight(true, positives, task.logits.at(0, i), log_sum_exp, 0.0);
  direction.log_sum_exp[i] = log_sum_exp;
  direction.log2_sum[i] = log2_sum;
  // What the rounding of log2_sum lost comes back with the weight.
  direction.weight[i] = float(task.online ? g * exp2(log2_sum - log_sum_exp * kLog2E) : g * row.matrix_weight());
  direction.target[i] = float(in_large_class ? g / double(positives) : 0);
  if (const double *mean = task.mean_logit[d]) {
    direction.loss[i] += task.smoothing[d].amount * (row.positive_logit() - mean[i]);
    direction.rest_share[i] -= task.smoothing[d].of_positive();
  }
}

// Whose first sums may still have to be put together.
template <int32_t kRowLoss>
__device__ void losses_of_row(const AddStatisticsTask &sums, const LossesTask &task, int64_t i, bool is_nan) {
  add_row(sums, i);
  add_column(sums, i);
  if (i >= task.anchors.padded_rows) return;
  if (kRowLoss == INFONCE_ROW_LOSS_DEBIASED && task.debiasing.beta != 0) hard_loss_of_row(task, i);
  else loss_of_row<kRowLoss>(task, 0, i);
  if (task.has_columns) loss_of_row<kRowLoss>(task, 1, i);
  if (!task.row_loss || i >= task.anchors.rows) return;
  const double loss = task.has_columns ? (task.rows.loss[i] + task.columns.loss[i]) / 2 : task.rows.loss[i];
  task.row_loss[task.anchors.source_row(i)] = is_nan ? NAN : float(loss);
}

// A thread an anchor; padding rows included, and what else has sums.
template <int32_t kRowLoss>
__global__ void __launch_bounds__(kLossesThreads, 1)
    losses(Trace trace, const __grid_constant__ AddStatisticsTask sums, const __grid_constant__ LossesTask task,
           const __grid_constant__ TotalsTask totals) {
  trace.mark();
  const bool is_nan = task.row_loss && task.nan_report && task.nan_report->has_bad_row();
  losses_of_row<kRowLoss>(sums, task, int64_t(blockIdx.x) * blockDim.x + threadIdx.x, is_nan);
  if (totals.rows > 0) total_up_last<kLossesThreads>(totals, gridDim.x);
}

__global__ void write_row_losses(Trace trace, const double *loss, float *row_loss, int64_t rows) {
  trace.mark();
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < rows) row_loss[i] = float(loss[i]);
}

// One block: what each thread has of every 1024th row, then a tree.
template <class Combine> __device__ double over_block(double of_this_thread, Combine &&combine) {
  __shared__ double of_thread[kTotalsThreads];
  of_thread[threadIdx.x] = of_this_thread;
  for (int half = kTotalsThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (int(threadIdx.x) < half)
      of_thread[threadIdx.x] = combine(of_thread[threadIdx.x], of_thread[threadIdx.x + half]);
  }
  __syncthreads();
  const double all = of_thread[0];
  __syncthreads();
  return all;
}

// One block. Exponentials are less the largest.
__global__ void __launch_bounds__(kTotalsThreads)
    weigh_positives(Trace trace, const __grid_constant__ PositiveWeightsTask task) {
  trace.mark();
  const auto exponent = [&](int64_t i) { return task.logits[i] / task.scale / task.sigma; };
  for (int64_t i = threadIdx.x; task.has_log_mean && i < task.rows; i += kTotalsThreads)
    task.weights[i] = mises_fisher_weight(exp(exponent(i) - task.log_mean), 1);
  if (task.has_log_mean) return;
  double largest = -INFINITY, sum = 0;
  for (int64_t i = threadIdx.x; i < task.rows; i += kTotalsThreads) largest = fmax(largest, exponent(i));
  largest = over_block(largest, [](double a, double b) { return fmax(a, b); });
  for (int64_t i = threadIdx.x; i < task.rows; i += kTotalsThreads) sum += exp(exponent(i) - largest);
  sum = over_block(sum, [](double a, double b) { return a + b; });
  for (int64_t i = threadIdx.x; i < task.rows; i += kTotalsThreads)
    task.weights[i] = mises_fisher_weight(exp(exponent(i) - largest), sum / double(task.rows));
}

// Where no other kernel does it. One block.
__global__ void __launch_bounds__(kTotalsThreads, 1) totals(Trace trace, const __grid_constant__ TotalsTask task) {
  trace.mark();
  total_up<kTotalsThreads>(task);
}

// After everything else, for callers that do not wait: any bad row makes all results NaN.
__global__ void fill_with_nan(Trace trace, const Report *report, const __grid_constant__ Results results) {
  trace.mark();
  bool bad = false;
  for (int input = 0; input < kInputs; ++input) bad |= report->first_bad_row(input) >= 0;
  if (!bad) return;
  const int64_t step = int64_t(gridDim.x) * blockDim.x, first = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  for (int k = 0; k < results.arrays; ++k)
    for (int64_t i = first; i < results.count[k]; i += step) results.values[k][i] = NAN;
  if (first == 0 && results.scalars) *results.scalars = {NAN, NAN, NAN, NAN, NAN};
}

}  // namespace infonce::cuda

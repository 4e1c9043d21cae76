// From what was accumulated to the gradient: the pairs' share, the chain through normalisation, the upstream gradient.
#pragma once

#include "common/row_loss.h"
#include "cuda/kernels/exact_row.cuh"
#include "cuda/kernels/totals.cuh"
#include "cuda/kernels/trace.cuh"

namespace infonce::cuda {

constexpr int32_t kRareRowLoss = -1;  // any but cross-entropy: the task says which

// RowLoss::pair_weight of the kernel's row loss.
template <int32_t kRowLoss>
__device__ double weight_of_pair(int32_t row_loss, bool is_positive, int64_t positives, const double &logit,
                                 const double &log_sum_exp, const double &rest_share) {
  if constexpr (kRowLoss != kRareRowLoss) {
    return RowLoss<kRowLoss>::pair_weight(is_positive, positives, logit, log_sum_exp, rest_share);
  } else {
    if (row_loss == INFONCE_ROW_LOSS_DECOUPLED)
      return weight_of_pair<INFONCE_ROW_LOSS_DECOUPLED>(row_loss, is_positive, positives, logit, log_sum_exp,
                                                        rest_share);
    if (row_loss == INFONCE_ROW_LOSS_DEBIASED)
      return weight_of_pair<INFONCE_ROW_LOSS_DEBIASED>(row_loss, is_positive, positives, logit, log_sum_exp,
                                                       rest_share);
    if (row_loss == INFONCE_ROW_LOSS_MEAN_INSIDE)
      return weight_of_pair<INFONCE_ROW_LOSS_MEAN_INSIDE>(row_loss, is_positive, positives, logit, log_sum_exp,
                                                          rest_share);
    return weight_of_pair<INFONCE_ROW_LOSS_POSITIVE_AND_NEGATIVES>(row_loss, is_positive, positives, logit, log_sum_exp,
                                                                   rest_share);
  }
}

// d (loss of row i) / d (logit of its pair `slot` outside the matrix), times row i's upstream gradient.
template <int32_t kRowLoss, class Scalar>
__device__ double pair_weight(const FinishTask<Scalar> &task, int64_t partners, int64_t i, int64_t slot) {
  const bool is_positive = slot == 0 || !task.rule.first_only;
  const int64_t positives = task.rule.first_only ? 1 : partners;
  const Direction &rows = task.rows;
  const double weight = weight_of_pair<kRowLoss>(task.row_loss, is_positive, positives, task.logits.at(slot, i),
                                                 rows.log_sum_exp[i], rows.rest_share[i]) +
                        // That of an only one is smoothed already.
                        (is_positive && positives > 1 ? task.smoothing / double(positives) : 0);
  // Rounded by itself: weights of two rows are added, and which product a fused one took would be the compiler's choice.
  return __dmul_rn(rows.upstream[i], weight);
}

// The same of two towers, where each row has one pair: its only positive.
__device__ inline double own_pair_weight(const Direction &direction, int64_t i) {
  return direction.upstream[i] * only_positive_weight(direction.rest_share[i]);
}

// A warp a row.
template <class Scalar> __global__ void add_splits(Trace trace, const __grid_constant__ AddSplitsTask<Scalar> task) {
  trace.mark();
  const Tower &tower = task.to_tower;
  const int64_t i = int64_t(blockIdx.x) * kRowsPerBlock + threadIdx.x / kWarp;
  if (i >= tower.rows) return;
  const int64_t from = task.first_source < 0 ? i : tower.source_row(i) - task.first_source;
  if (from < 0 || from >= task.rows) return;
  for (int64_t d = threadIdx.x % kWarp; d < tower.dim; d += kWarp) {
    double sum = 0;
    for (int32_t split = 0; split < task.count; ++split)
      sum += task.splits[split * task.plane + from * tower.padded_dim + d];
    task.to[i * tower.padded_dim + d] += task.factor ? sum * task.factor[i] : sum;
  }
}

// radial += factor * <u, sums>, a warp a row.
__global__ void add_radial(Trace trace, const __grid_constant__ Tower tower, const double *sums, double factor,
                           const __grid_constant__ Upstream upstream, double *radial) {
  trace.mark();
  const int64_t i = int64_t(blockIdx.x) * kRowsPerBlock + threadIdx.x / kWarp;
  if (i >= tower.rows) return;
  const ExactRow unit(tower, i);
  double along = 0;
  for (int64_t d = threadIdx.x % kWarp; d < tower.dim; d += kWarp) along += sums[i * tower.padded_dim + d] * unit[d];
  along = warp_sum(along);
  if (threadIdx.x % kWarp == 0) radial[i] += factor * upstream.scale() * along;
}

template <class Scalar, PairRule kRule, int32_t kRowLoss>
__device__ void finish_row(const FinishTask<Scalar> &task, int64_t i) {
  const Tower &tower = task.tower;
  const int lane = threadIdx.x % kWarp;
  const int64_t dim = tower.dim;
  const bool one_tower = kRule == PairRule::kByRule && task.rule.one_tower;
  const Range range = one_tower ? task.pairs.apart[i] : Range{0, 1};
  const bool in_large_class = one_tower && task.pairs.classes && task.pairs.classes[i].size() > 0;
  const Range memory = task.memory.apart ? task.memory.apart[i] : Range{0, 0};
  const int64_t of_tower = !task.has_pairs || in_large_class ? 0 : task.rule.partners(range);
  const int64_t partners = of_tower + (task.has_pairs ? memory.size() : 0);

  const Scalar *row = task.accumulators + i * tower.padded_dim;
  Scalar *sums = task.sums + i * tower.padded_dim;
  const double row_factor = task.factor ? task.factor[i] : 1.0;
  const double factor = task.scale * task.upstream.scale();
  const ExactRow unit(tower, i);
  double along = 0, along_memory = 0;
  constexpr int kElements = 8;
  const auto along_unit_row = [&](const double(&sum)[kElements], int64_t part) {
    double dot = 0;
#pragma unroll
    for (int e = 0; e < kElements; ++e) {
      const int64_t d = part + e * kWarp + lane;
      if (d < dim) dot += sum[e] * unit[d];
    }
    return dot;
  };
  // In parts of the dimension, so that a pair's weight is computed once a part and not once an element.
  for (int64_t part = 0; part < dim; part += kElements * kWarp) {
    double sum[kElements];
    const auto add_splits = [&](int32_t first, int32_t end) {
    // A plane at a time, so that its elements are read together.
#pragma unroll 1
      for (int32_t split = first; split < end; ++split) {
        const Scalar *of_split = row + split * tower.plane_size();
#pragma unroll
        for (int e = 0; e < kElements; ++e) {
          const int64_t d = part + e * kWarp + lane;
          if (d < dim) sum[e] += of_split[d];
        }
      }
    };
    const auto add_pair = [&](double weight, const ExactRow &partner) {
#pragma unroll
      for (int e = 0; e < kElements; ++e) {
        const int64_t d = part + e * kWarp + lane;
        if (d < dim) sum[e] += weight * partner[d];
      }
    };
#pragma unroll
    for (int e = 0; e < kElements; ++e) sum[e] = 0;
    const auto apply_factor = [&] {
      if (task.factor)
#pragma unroll
        for (int e = 0; e < kElements; ++e) sum[e] *= row_factor;
    };
    // Other blocks than the triangle first: what they add to the radial dot is counted apart.
    add_splits(task.splits, task.all_splits);
    if constexpr (kRule == PairRule::kByRange) {
      apply_factor();
      const Range partners_of_row = task.ranges[i];
      for (int64_t j = partners_of_row.first; j < partners_of_row.end; ++j) {
        double weight = own_pair_weight(task.rows, task.of_keys ? j : i);
        if (task.has_columns) weight += own_pair_weight(task.columns, task.of_keys ? i : j);
        add_pair(weight, ExactRow(task.partners, j));
      }
      along_memory += along_unit_row(sum, part);
      add_splits(0, task.splits);
    } else {
      for (int64_t slot = of_tower; slot < partners; ++slot)
        add_pair(pair_weight<kRowLoss>(task, partners, i, slot),
                 ExactRow(task.memory_rows, memory.first + slot - of_tower));
      if (task.counts_others) along_memory += along_unit_row(sum, part);
      add_splits(0, task.splits);
      apply_factor();
      for (int64_t slot = 0; slot < of_tower; ++slot) {
        const int64_t j = task.rule.partner(range, i, slot);
        double weight;
        if (one_tower) {
          // Partners are mutual: row i is one of the partners of row j.
          weight = pair_weight<kRowLoss>(task, partners, i, slot) +
                   pair_weight<kRowLoss>(task, partners, j, i - range.first - (i > j));
        } else {
          weight = own_pair_weight(task.rows, i);
          if (task.has_columns) weight += own_pair_weight(task.columns, i);
        }
        add_pair(weight, ExactRow(task.partners, j));
      }
    }
    along += along_unit_row(sum, part);
#pragma unroll
    for (int e = 0; e < kElements; ++e) {
      const int64_t d = part + e * kWarp + lane;
      if (d < dim) sums[d] = Scalar(sum[e]);
    }
  }
  along = warp_sum(along);
  // Of a pair of anchors each has a share, of other pairs one alone.
  if (kRule == PairRule::kByRange || task.counts_others) along_memory = warp_sum(along_memory);
  if (lane == 0 && task.radial) task.radial[i] = factor * (along + along_memory);

  const bool clamped = !(unit.inverse < 1 / kSmallestNorm);
  const double along_unit = tower.normalize && !clamped ? along : 0;
  const bool is_nan = task.nan_report && task.nan_report->has_bad_row();
  float *gradient = task.gradient + tower.source_row(i) * dim;
  for (int64_t d = lane; d < dim; d += kWarp)
    gradient[d] = is_nan ? NAN : float(factor * unit.inverse * (double(sums[d]) - along_unit * unit[d]));
}

// A warp a row.
template <class Scalar, PairRule kRule, int32_t kRowLoss>
__global__ void __launch_bounds__(kRowsPerBlock *kWarp, 1)
    finish(Trace trace, const __grid_constant__ FinishTask<Scalar> task, const __grid_constant__ TotalsTask totals) {
  trace.mark();
  const int64_t i = int64_t(trace.block()) * kRowsPerBlock + threadIdx.x / kWarp, rows = task.tower.rows;
  if (i < rows) finish_row<Scalar, kRule, kRowLoss>(task, i);
  if (totals.rows > 0)
    total_up_last<kRowsPerBlock * kWarp>(totals, unsigned((rows + kRowsPerBlock - 1) / kRowsPerBlock));
}

}  // namespace infonce::cuda

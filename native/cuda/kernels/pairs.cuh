// The pairs that are treated one by one: their exact logits, and the dot product that ranks each anchor's positive.
#pragma once

#include <cmath>

#include "cuda/kernels/exact_row.cuh"
#include "cuda/kernels/trace.cuh"

namespace infonce::cuda {

// The sum of an operand's planes is the unit row as the tensor cores see it.
template <int kPlanes> __device__ float operand_at(const Tower &tower, int64_t r, int64_t d) {
  float sum = 0;
#pragma unroll
  for (int p = kPlanes - 1; p >= 0; --p)
    sum += __bfloat162float(tower.planes[p * tower.plane_size() + r * tower.padded_dim + d]);
  return sum;
}

// A warp an anchor; padding rows included.
__global__ void first_logits(Trace trace, const __grid_constant__ FirstsTask task) {
  trace.mark();
  const int64_t i = int64_t(trace.block()) * kRowsPerBlock + threadIdx.x / kWarp;
  if (i >= task.anchors.padded_rows) return;
  const int32_t first = i < task.anchors.rows ? task.rows[i] : -1;
  double logit = INFINITY;
  if (first != -1) {
    const int64_t other = -2 - int64_t(first), remembered = other - task.elsewhere.rows;
    const ExactRow u(task.anchors, i), v = first >= 0        ? ExactRow(task.anchors, first)
                                           : remembered >= 0 ? ExactRow(task.memory, remembered)
                                                             : ExactRow(task.elsewhere, other);
    logit = task.scale * sum_over_dim(task.anchors.dim, [&](int64_t d) { return u[d] * v[d]; });
  }
  if (threadIdx.x % kWarp == 0) task.logits[i] = logit;
}

// A warp an anchor; padding rows included. kGeneral: with targets, biases, a margin or pairs that are left out.
template <int kPlanes, bool kGeneral> __global__ void pair_logits(Trace trace, const __grid_constant__ PairsTask task) {
  trace.mark();
  const Tower &anchors = task.anchors, &positives = task.positives;
  const int lane = threadIdx.x % kWarp;
  const int64_t i = int64_t(trace.block()) * kRowsPerBlock + threadIdx.x / kWarp, dim = anchors.dim;
  if (i >= anchors.padded_rows) return;
  const int64_t large_class = task.class_of && i < anchors.rows ? task.class_of[i] : -1;
  const Range none = {0, 1};
  const bool has_ranges = i < anchors.rows && task.rule.one_tower;
  const auto range_of = [&](const Pairs &pairs) { return large_class >= 0 ? pairs.classes[i] : pairs.apart[i]; };
  const Range range = has_ranges ? range_of(task.pairs) : none;
  const Range memory = has_ranges && task.memory.apart ? range_of(task.memory) : Range{0, 0};
  const int64_t of_tower = i < anchors.rows ? task.rule.partners(range) : 0, partners = of_tower + memory.size();
  if (partners == 0) {
    if (lane == 0) task.rank[i] = INFINITY, task.logits.first[i] = INFINITY;
    return;
  }

  const ExactRow anchor(anchors, i);
  const auto partner_of = [&](int64_t slot) -> int64_t {
    if (kGeneral && task.targets) return task.targets[i].first;
    return task.rule.partner(range, i, slot);
  };
  const auto partner = [&](int64_t slot) {
    return slot < of_tower ? ExactRow(positives, partner_of(slot))
                           : ExactRow(task.memory_rows, memory.first + slot - of_tower);
  };
  const auto logit_of = [&](int64_t slot, double dot) {
    double logit = task.scale * dot;
    if constexpr (kGeneral) {
      const bool is_positive = slot == 0 || !task.rule.first_only;
      const int64_t j = slot < of_tower ? partner_of(slot) : memory.first + slot - of_tower;
      const float *bias = slot < of_tower ? task.bias_of_keys : task.bias_of_memory;
      if (bias) logit += bias[j];
      if (is_positive) logit -= task.scale * task.margin;
      if ((task.ids && !is_positive && task.ids[i] == task.ids[j]) || !(logit > kLeftOut)) logit = kLeftOut;
    }
    return logit;
  };
  const Tower &first_tower = of_tower > 0 ? positives : task.memory_rows;
  const int64_t first = of_tower > 0 ? partner_of(0) : memory.first;
  const ExactRow positive(first_tower, first);
  double dot = 0, rank = 0, anchor_square = 0, positive_square = 0;
  for (int64_t d = lane; d < dim; d += kWarp) {
    const double u = anchor[d], v = positive[d];
    dot += u * v;
    rank += double(operand_at<kPlanes>(anchors, i, d)) * double(operand_at<kPlanes>(first_tower, first, d));
    if (!anchors.normalize) anchor_square += u * u, positive_square += v * v;
  }
  const double first_logit = logit_of(0, warp_sum(dot));
  const double length = anchors.normalize ? 1 : sqrt(warp_sum(anchor_square) * warp_sum(positive_square));
  rank = warp_sum(rank) + task.tie * length;
  if constexpr (kGeneral) rank -= task.margin;
  if (lane == 0) task.logits.first[i] = first_logit, task.rank[i] = float(rank);

  if (large_class >= 0) {
    const double *sum = task.class_sums + large_class * dim;
    const double total = sum_over_dim(dim, [&](int64_t d) { return anchor[d] * (sum[d] - anchor[d]); });
    double mean = task.scale * total / double(partners);
    if constexpr (kGeneral)
      for (int64_t j = memory.first; task.bias_of_memory && j < memory.end; ++j)
        mean += task.bias_of_memory[j] / double(partners);
    if (lane == 0) task.logits.at(0, i) = mean;
    return;
  }
  if (lane == 0) task.logits.at(0, i) = first_logit;
  for (int64_t slot = 1; slot < partners; ++slot) {
    const ExactRow other = partner(slot);
    const double s = logit_of(slot, sum_over_dim(dim, [&](int64_t d) { return anchor[d] * other[d]; }));
    if (lane == 0) task.logits.at(slot, i) = s;
  }
}

}  // namespace infonce::cuda

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
template <int kPlanes> __global__ void pair_logits(Trace trace, const __grid_constant__ PairsTask task) {
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
  const auto partner = [&](int64_t slot) {
    return slot < of_tower ? ExactRow(positives, task.rule.partner(range, i, slot))
                           : ExactRow(task.memory_rows, memory.first + slot - of_tower);
  };
  const Tower &first_tower = of_tower > 0 ? positives : task.memory_rows;
  const int64_t first = of_tower > 0 ? task.rule.partner(range, i, 0) : memory.first;
  const ExactRow positive(first_tower, first);
  double dot = 0, rank = 0, anchor_square = 0, positive_square = 0;
  for (int64_t d = lane; d < dim; d += kWarp) {
    const double u = anchor[d], v = positive[d];
    dot += u * v;
    rank += double(operand_at<kPlanes>(anchors, i, d)) * double(operand_at<kPlanes>(first_tower, first, d));
    if (!anchors.normalize) anchor_square += u * u, positive_square += v * v;
  }
  const double first_logit = task.scale * warp_sum(dot);
  const double length = anchors.normalize ? 1 : sqrt(warp_sum(anchor_square) * warp_sum(positive_square));
  rank = warp_sum(rank) + task.tie * length;
  if (lane == 0) task.logits.first[i] = first_logit, task.rank[i] = float(rank);

  if (large_class >= 0) {
    const double *sum = task.class_sums + large_class * dim;
    const double total = sum_over_dim(dim, [&](int64_t d) { return anchor[d] * (sum[d] - anchor[d]); });
    if (lane == 0) task.logits.at(0, i) = task.scale * total / double(partners);
    return;
  }
  if (lane == 0) task.logits.at(0, i) = first_logit;
  for (int64_t slot = 1; slot < partners; ++slot) {
    const ExactRow other = partner(slot);
    const double s = task.scale * sum_over_dim(dim, [&](int64_t d) { return anchor[d] * other[d]; });
    if (lane == 0) task.logits.at(slot, i) = s;
  }
}

}  // namespace infonce::cuda

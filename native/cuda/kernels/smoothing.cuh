// Label smoothing: every candidate gets the same share of a row's target, so that all it takes are sums over rows.
#pragma once

#include "cuda/kernels/exact_row.cuh"
#include "cuda/kernels/trace.cuh"

namespace infonce::cuda {

constexpr int kSummedRows = 16;  // at once

// Grid: x parts of the dimension, a lane each. The rows are shared out to the warps, always alike.
__global__ void __launch_bounds__(kWarp *kSummedRows) sum_rows(Trace trace, const __grid_constant__ RowSumTask task) {
  trace.mark();
  __shared__ double sums[kSummedRows][kWarp];
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int64_t d = int64_t(trace.block()) * kWarp + lane;
  double sum = 0;
#pragma unroll 4
  for (int64_t r = warp; r < task.tower.rows; r += kSummedRows) {
    const double u = d < task.tower.dim ? ExactRow(task.tower, r)[d] : 0;
    sum += task.weights ? task.weights[r] * u : u;
  }
  sums[warp][lane] = sum;
  __syncthreads();
  if (warp > 0 || d >= task.tower.dim) return;
  for (int w = 1; w < kSummedRows; ++w) sum += sums[w][lane];
  task.sum[d] = sum;
}

// A warp an anchor.
__global__ void mean_logits(Trace trace, const __grid_constant__ MeanLogitsTask task) {
  trace.mark();
  const int64_t i = int64_t(trace.block()) * kRowsPerBlock + threadIdx.x / kWarp;
  if (i >= task.anchors.rows) return;
  const ExactRow anchor(task.anchors, i);
  const double dots = sum_over_dim(task.anchors.dim, [&](int64_t d) {
    double sum = task.among_anchors ? -anchor[d] : 0;
    for (int32_t m = 0; m < task.matrices; ++m) sum += task.sums[m][d];
    return anchor[d] * sum;
  });
  const double apart = task.positive_logit ? task.positive_logit[i] : 0, further = task.further ? task.further[i] : 0;
  if (threadIdx.x % kWarp == 0) task.mean[i] = (task.scale * dots + task.add + apart + further) / task.candidates;
}

// A warp a row.
__global__ void add_logit_sums(Trace trace, const __grid_constant__ LogitSumsTask task) {
  trace.mark();
  const int64_t i = int64_t(trace.block()) * kRowsPerBlock + threadIdx.x / kWarp;
  if (i >= task.tower.rows) return;
  const int64_t source = task.tower.source_row(i);
  if (source < task.first_source || source >= task.end_source) return;
  const ExactRow row(task.tower, i);
  const double dot = sum_over_dim(task.tower.dim, [&](int64_t d) { return row[d] * task.others[d]; });
  if (threadIdx.x % kWarp == 0) task.sums[i] += task.scale * dot + task.add;
}

// A warp a row.
__global__ void add_smoothing(Trace trace, const __grid_constant__ SmoothingTask task) {
  trace.mark();
  const Tower &tower = task.tower;
  const int64_t i = int64_t(trace.block()) * kRowsPerBlock + threadIdx.x / kWarp;
  if (i >= tower.rows) return;
  const ExactRow row(tower, i);
  const double g = task.candidates ? task.upstream[i] : 0;
  for (int64_t d = threadIdx.x % kWarp; d < tower.dim; d += kWarp) {
    double sum = 0;
    if (task.candidates) sum += g * task.candidates[d];
    if (task.anchors) sum += task.anchors[d];
    // The row itself is in both.
    if (task.candidates && task.anchors) sum -= 2 * g * row[d];
    task.accumulators[i * tower.padded_dim + d] += task.each * sum;
  }
}

}  // namespace infonce::cuda

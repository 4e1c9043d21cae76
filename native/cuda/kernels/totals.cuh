// Reduces row losses in one block: of a launch of its own or, with few rows, the last block that has something to add.
#pragma once

#include "cuda/kernels/tasks.h"
#include "cuda/kernels/warp.cuh"

namespace infonce::cuda {

constexpr int kTotalsThreads = 1024;

// Adds as so many threads do, of which each has every 1024th row, and then a tree: fewer take turns.
template <int kThreads> __device__ void total_up(const TotalsTask &task) {
  static_assert(kTotalsThreads % kThreads == 0 && kThreads % kWarp == 0, "whole turns of whole warps");
  __shared__ double of_warp[5][kTotalsThreads / kWarp];
  for (int thread = threadIdx.x; thread < kTotalsThreads; thread += kThreads) {
    double sums[5] = {0, 0, 0, 0, 0};  // as in infonce_scalars: loss, radial, top 1, top 5; then the margin's
    for (int64_t i = thread; i < task.rows; i += kTotalsThreads) {
      const bool has_positive = !task.first_logit || task.first_logit[i] < INFINITY;
      for (int d = 0; d < 2 && task.loss[d]; ++d) {
        sums[0] += task.loss[d][i];
        sums[2] += has_positive && task.above[d][i] < 1;
        sums[3] += has_positive && task.above[d][i] < 5;
        if (task.margin != 0 && task.radial)
          sums[4] += task.row_upstream[d][i] * (task.rest_share[d][i] - task.of_candidate[d]);
      }
      if (task.radial) sums[1] += task.radial[i];
    }
    for (int k = 0; k < 5; ++k) {
      sums[k] = warp_sum(sums[k]);
      if (thread % kWarp == 0) of_warp[k][thread / kWarp] = sums[k];
    }
  }
  __syncthreads();
  if (threadIdx.x >= kWarp) return;
  double sums[5];
  for (int k = 0; k < 5; ++k) sums[k] = warp_sum(of_warp[k][threadIdx.x]);
  const bool is_nan = task.sets_nan && task.report->has_bad_row();
  if (threadIdx.x > 0) return;
  const double directions = task.loss[1] ? 2 : 1, rows = double(task.rows) * directions;
  double grad_scale = sums[1] / task.radial_divisor;
  if (task.margin != 0 && task.radial) grad_scale += task.margin * task.upstream.scale() * sums[4];
  const infonce_scalars totals = {sums[0] / (task.loss_divisor * directions), grad_scale,
                                  task.ranks ? sums[2] / rows : NAN, task.ranks ? sums[3] / rows : NAN};
  task.report->scalars = totals;
  if (task.scalars) *task.scalars = is_nan ? infonce_scalars{NAN, NAN, NAN, NAN, NAN} : totals;
}

// For all threads of all blocks of a launch, once each has written what is added: the last block to come adds it.
template <int kThreads> __device__ void total_up_last(const TotalsTask &task, unsigned blocks) {
  __shared__ bool is_last;
  __syncthreads();
  if (threadIdx.x == 0) {
    // What all blocks wrote before they came stands before the number that the last one finds, and what it reads behind.
    __threadfence();
    is_last = atomicAdd(&task.report->blocks_done, 1u) == blocks - 1;
    __threadfence();
  }
  __syncthreads();
  if (!is_last) return;
  total_up<kThreads>(task);
  if (threadIdx.x == 0) task.report->blocks_done = 0;
}

}  // namespace infonce::cuda

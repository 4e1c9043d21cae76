// The sigmoid loss in float64: of a pair that is no positive log (1 + exp(s)), of a positive log (1 + exp(-s)). A row's sum
// of them stands where others keep their sum of exponentials, and that of their derivatives by the logit in `offset`.
#pragma once

#include "cuda/kernels/float64.cuh"

namespace infonce::cuda {

// The loss of a pair and its derivative, neither a difference.
struct SigmoidOfPair {
  double loss, slope;

  __device__ SigmoidOfPair(double logit, bool is_positive) {
    const double t = is_positive ? -logit : logit, x = exp(-fabs(t)), share = 1 / (1 + x);
    loss = fmax(t, 0.0) + log1p(x);
    slope = t > 0 ? share : x * share;
    if (is_positive) slope = -slope;
  }
};

// Grid: x tile rows of the owner.
__global__ void __launch_bounds__(DoubleTile::kThreads)
    sigmoid_statistics(Trace trace, const __grid_constant__ SigmoidTask task,
                       const __grid_constant__ Float64Statistics statistics) {
  constexpr int kRows = DoubleTile::kThreadRows;
  trace.mark();
  if (trace.is_cancelled()) return;
  __shared__ DoubleTile tile;
  __shared__ DoubleRanks ranks;
  const Tower &owner = task.block.owner, &other = task.block.other;
  const int lane = threadIdx.x % kWarp, warp_row = DoubleSums::first_row();
  const int64_t tile_row = int64_t(trace.block()) * DoubleTile::kRows, first_row = tile_row + warp_row;
  double loss[kRows], slope[kRows];  // of the lane's columns
  int32_t above[kRows];
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    loss[r] = slope[r] = 0, above[r] = 0;
    if (statistics.ranks) ranks.take_row(task.block, statistics, first_row + r, warp_row + r);
  }

  for (int64_t column = 0; column < other.rows; column += DoubleTile::kColumns) {
    UnitRowLoader loader(row_or_last(owner, tile_row + lane), row_or_last(other, column + threadIdx.x), owner.dim);
    DoubleSums dots;
    dots.clear();
    multiply(dots, tile, loader, owner.dim);
    ranks.column_length[threadIdx.x] = sqrt(loader.column_square());
    __syncthreads();
    dots.for_each([&](double &dot, int r, int c) {
      const int64_t i = first_row + r, j = column + DoubleSums::column(c);
      if (i >= owner.rows || j >= other.rows) return;
      const double logit = task.block.scale * dot;
      const bool is_positive = task.is_positive(i, j);
      const SigmoidOfPair pair(logit + task.bias, is_positive);
      loss[r] += pair.loss, slope[r] += pair.slope;
      if (statistics.ranks) above[r] += !is_positive && ranks.is_above(logit, warp_row + r, DoubleSums::column(c));
    });
  }

#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const double losses = warp_sum(loss[r]), slopes = warp_sum(slope[r]);
    const int32_t count = warp_sum(above[r]);
    if (lane) continue;
    const int64_t i = first_row + r;
    statistics.sum[i] = losses + (statistics.add ? statistics.sum[i] : 0);
    statistics.offset[i] = slopes + (statistics.add ? statistics.offset[i] : 0);
    statistics.above[i] = count + (statistics.add ? statistics.above[i] : 0);
  }
}

// Grid: x tile rows, y tile columns of the panel. Either upstream gradient may be null: its rows have no loss.
__global__ void __launch_bounds__(DoubleTile::kThreads)
    sigmoid_weights(Trace trace, const __grid_constant__ SigmoidTask task, const double *of_owner,
                    const double *of_other, const __grid_constant__ Float64Panel panel) {
  trace.mark();
  if (trace.is_cancelled()) return;
  __shared__ DoubleTile tile;
  const Tower &owner = task.block.owner, &other = task.block.other;
  const int64_t row = panel.first_row + int64_t(trace.block()) * DoubleTile::kRows;
  const int64_t column = panel.first_column + int64_t(blockIdx.y) * DoubleTile::kColumns;

  UnitRowLoader loader(row_or_last(owner, row + threadIdx.x % kWarp), row_or_last(other, column + threadIdx.x),
                       owner.dim);
  DoubleSums dots;
  dots.clear();
  multiply(dots, tile, loader, owner.dim);
  dots.for_each([&](double &dot, int r, int c) {
    const int64_t i = row + DoubleSums::first_row() + r, j = column + DoubleSums::column(c);
    double weight = 0;
    if (i < owner.rows && j < other.rows) {
      const double upstream = (of_owner ? of_owner[i] : 0) + (of_other ? of_other[j] : 0);
      weight = upstream * SigmoidOfPair(task.block.scale * dot + task.bias, task.is_positive(i, j)).slope;
    }
    panel.weights[(i - panel.first_row) * panel.columns + j - panel.first_column] = weight;
  });
}

// A thread an anchor; padding rows included.
__global__ void sigmoid_losses(Trace trace, const __grid_constant__ LossesTask task) {
  trace.mark();
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= task.anchors.padded_rows) return;
  const bool real = i < task.anchors.rows;
  const Direction &rows = task.rows;
  double loss = rows.sum[i];
  if (real && task.adds_sigmoids_of_pairs) {
    const SigmoidOfPair pair(task.logits.first[i] + task.sigmoid_bias, true);
    loss += pair.loss;
    rows.rest_share[i] = -pair.slope;
  }
  rows.loss[i] = loss;
  rows.all_above[i] = rows.above[i];
  rows.upstream[i] = real ? task.upstream.relative(i) : 0;
  rows.weight[i] = float(rows.upstream[i]);
  if (real && task.row_loss) task.row_loss[i] = float(loss);
}

// One warp, after the totals.
__global__ void sigmoid_bias(Trace trace, const __grid_constant__ LossesTask task, Report *report,
                             infonce_scalars *scalars) {
  trace.mark();
  double sum = 0;
  for (int64_t i = threadIdx.x; i < task.anchors.rows; i += kWarp) {
    const double of_pair = task.adds_sigmoids_of_pairs ? -task.rows.rest_share[i] : 0;
    sum += task.rows.upstream[i] * (task.rows.offset[i] + of_pair);
  }
  sum = warp_sum(sum) * task.upstream.scale();
  if (threadIdx.x > 0) return;
  report->scalars.grad_bias = sum;
  if (scalars) scalars->grad_bias = sum;
}

}  // namespace infonce::cuda

// SimCLR's logits, in the rows' order of the input: positives first, then the others, both ascending.
#pragma once

#include "cuda/kernels/double_tile.cuh"
#include "cuda/kernels/trace.cuh"

namespace infonce::cuda {

// A row of the input: view after view, each of all samples.
struct InputRow {
  int64_t view, sample;

  static __device__ InputRow of(int64_t row, int64_t samples) { return {row / samples, row % samples}; }

  // Where `other` stands in this row's logits: among the positives; or behind them, less the rows of this sample that
  // come before it in the input.
  __device__ int64_t place_of(const InputRow &other, int64_t views, int64_t samples) const {
    if (other.sample == sample) return other.view - (other.view > view);
    return views - 1 + other.view * samples + other.sample - other.view - (other.sample > sample);
  }
};

// Grid: x tile rows, y tile columns.
__global__ void __launch_bounds__(DoubleTile::kThreads)
    simclr_logits_tile(Trace trace, const __grid_constant__ Tower anchors, double scale, float *logits) {
  trace.mark();
  if (trace.is_cancelled()) return;
  __shared__ DoubleTile tile;
  const int64_t rows = anchors.rows, views = anchors.views, samples = rows / views;
  const int64_t row = int64_t(trace.block()) * DoubleTile::kRows, column = int64_t(blockIdx.y) * DoubleTile::kColumns;
  const auto unit_row = [&](int64_t r) {  // prepared rows stand sample by sample
    const InputRow input = InputRow::of(min(r, rows - 1), samples);
    return ExactRow(anchors, input.sample * views + input.view);
  };

  UnitRowLoader loader(unit_row(row + threadIdx.x % kWarp), unit_row(column + threadIdx.x), anchors.dim);
  DoubleSums dots;
  dots.clear();
  multiply(dots, tile, loader, anchors.dim);
#pragma unroll
  for (int c = 0; c < DoubleTile::kThreadColumns; ++c) {
    const int64_t j = column + DoubleSums::column(c);
    if (j >= rows) continue;
    const InputRow other = InputRow::of(j, samples);
#pragma unroll
    for (int r = 0; r < DoubleTile::kThreadRows; ++r) {
      const int64_t i = row + DoubleSums::first_row() + r;
      if (i >= rows || i == j) continue;
      const int64_t place = InputRow::of(i, samples).place_of(other, views, samples);
      logits[i * (rows - 1) + place] = float(scale * dots.at[r][c]);
    }
  }
}

}  // namespace infonce::cuda

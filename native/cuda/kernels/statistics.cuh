// Puts the partial statistics of a launch together: one thread a row, always in the same order.
#pragma once

#include <cmath>

#include "cuda/kernels/sm80_statistics.cuh"

namespace infonce::cuda {

// A block a tile row.
__global__ void add_row_statistics(Trace trace, const __grid_constant__ AddRowsTask task) {
  trace.mark();
  const int tile_row = task.first_tile_row + blockIdx.x;
  const int64_t rows = int64_t(task.tile_rows) * task.rows_of_tile,
                r = int64_t(blockIdx.x) * task.rows_of_tile + threadIdx.x;
  const int64_t i = int64_t(tile_row) * task.rows_of_tile + threadIdx.x;
  const int tiles = task.tiles - (task.triangular ? tile_row * (task.rows_of_tile / kTileColumns) : 0);
  const int runs = (tiles + task.tiles_per_run - 1) / task.tiles_per_run;
  double sum = 0;
  int32_t above = 0;
  for (int run = 0; run < runs; ++run) above += task.by_row.above[run * rows + r];
  if (task.by_row.maximum) {
    float largest = -INFINITY;
    for (int run = 0; run < runs; ++run) largest = fmaxf(largest, task.by_row.maximum[run * rows + r]);
    for (int run = 0; run < runs; ++run) {
      const float maximum = task.by_row.maximum[run * rows + r];
      if (maximum > -INFINITY)
        sum += task.by_row.sum[run * rows + r] * exp2(double(maximum - largest) * double(task.exponent));
    }
    task.direction.offset[i] = double(largest) * double(task.exponent) * task.logit_of_exponent;
  } else {
    for (int run = 0; run < runs; ++run) sum += task.by_row.sum[run * rows + r];
  }
  task.direction.sum[i] += sum;
  task.direction.above[i] += above;
}

__global__ void add_column_statistics(Trace trace, const __grid_constant__ AddColumnsTask task) {
  trace.mark();
  const int64_t j = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (j >= task.columns) return;
  int64_t slots = task.tile_rows;
  if (task.triangular) slots = min(slots, j / task.rows_of_tile - task.first_tile_row);
  double sum = 0;
  int32_t above = 0;
  for (int64_t slot = 0; slot < slots; ++slot) {
    sum += task.by_column.sum[slot * task.stride + j];
    above += task.by_column.above[slot * task.stride + j];
  }
  task.direction.sum[j] += sum;
  task.direction.above[j] += above;
}

}  // namespace infonce::cuda

// Puts the partial statistics of a launch together: those of a row, and of a column, always in the same order.
#pragma once

#include <cmath>

#include "cuda/kernels/tasks.h"
#include "cuda/kernels/tile_shapes.h"

namespace infonce::cuda {

// Row i over the runs of its tile row.
__device__ inline void add_row(const AddStatisticsTask &task, int64_t i) {
  const int64_t rows = int64_t(task.tile_rows) * task.rows_of_tile;
  const int64_t r = i - int64_t(task.first_tile_row) * task.rows_of_tile;
  if (r < 0 || r >= rows) return;
  const int tile_row = static_cast<int>(i / task.rows_of_tile);
  const int tiles = task.tiles - (task.triangular ? tile_row * (task.rows_of_tile / kTileColumns) : 0);
  const int runs =
      task.order.strips > 0 ? task.order.sums_of(tile_row - task.first_tile_row) : tiles_of(tiles, task.tiles_per_run);
  double sum = 0;
  int32_t above = 0;
  for (int run = 0; run < runs; ++run) above += task.by_row.above[run * rows + r];
  if (task.of_sigmoids) {
    double slopes = 0;
    for (int run = 0; run < runs; ++run) {
      sum += task.by_row.sum[run * rows + r];
      slopes += task.by_row.maximum[run * rows + r];
    }
    task.of_rows.sum[i] += sum;
    task.of_rows.offset[i] += slopes;
  } else if (task.by_row.maximum) {
    float largest = -INFINITY;
    for (int run = 0; run < runs; ++run) largest = fmaxf(largest, task.by_row.maximum[run * rows + r]);
    for (int run = 0; run < runs; ++run) {
      const float maximum = task.by_row.maximum[run * rows + r];
      if (maximum > -INFINITY)
        sum += task.by_row.sum[run * rows + r] * exp2(double(maximum - largest) * double(task.exponent));
    }
    constexpr double kLn2 = 0.6931471805599453;
    double offset = double(largest) * double(task.exponent) * kLn2;
    const double before = task.of_rows.sum[i], before_offset = task.of_rows.offset[i];
    if (before > 0) {  // over the anchors; this is over the memory
      const double both = fmax(offset, before_offset);
      sum = sum * exp(offset - both) + before * exp(before_offset - both);
      offset = both;
    }
    task.of_rows.offset[i] = offset;
    task.of_rows.sum[i] = sum;
  } else {
    for (int run = 0; run < runs; ++run) sum += task.by_row.sum[run * rows + r];
    task.of_rows.sum[i] += sum;
  }
  task.of_rows.above[i] += above;
}

// Column j over the rows of the launch; for one tower over those above its tile.
__device__ inline void add_column(const AddStatisticsTask &task, int64_t j) {
  if (j >= task.columns) return;
  const int64_t slots_of_tile = task.rows_of_tile / task.rows_of_column_sum;
  int64_t slots = task.tile_rows * slots_of_tile;
  if (task.triangular) {
    const int64_t above = j / kTileColumns * kTileColumns / task.rows_of_column_sum;
    slots = min(slots, above - task.first_tile_row * slots_of_tile);
  }
  double sum = 0;
  int32_t above = 0;
  for (int64_t slot = 0; slot < slots; ++slot) {
    sum += task.by_column.sum[slot * task.stride + j];
    above += task.by_column.above[slot * task.stride + j];
  }
  task.of_columns.sum[j] += sum;
  task.of_columns.above[j] += above;
}

}  // namespace infonce::cuda

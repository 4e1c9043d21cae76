// Sums of exponentials of the logits, and how many logits are above the positive's, by row and by column of each tile
// row and run of tiles; `statistics.cuh` puts them together in a fixed order.
#pragma once

#include <cmath>

#include "cuda/kernels/lane_statistics.cuh"
#include "cuda/kernels/sm80_logits.cuh"
#include "cuda/kernels/trace.cuh"

namespace infonce::cuda {

template <class Tile> struct StatisticsShared {
  float row_rank[Tile::kRows];
  float column_sum[Tile::kWarpRows][Tile::kColumns];
  int32_t column_above[Tile::kWarpRows][Tile::kColumns];
};

// Grid: x runs, y tile rows. Exponentials alone have column statistics.
template <class Tile, Terms kTerms>
__global__ void __launch_bounds__(Tile::kThreads) statistics(Trace trace, const __grid_constant__ StatisticsTask task) {
  using Sums = typename Tile::Sums;
  trace.mark();
  if (trace.is_cancelled()) return;
  extern __shared__ __align__(128) unsigned char shared[];
  auto &own = *reinterpret_cast<StatisticsShared<Tile> *>(shared + Tile::kPipelineBytes);

  const int tile_row = task.first_tile_row + blockIdx.y, tiles = tiles_of(task.columns.rows, Tile::kColumns);
  const int diagonal = task.triangular ? tile_row * (Tile::kRows / Tile::kColumns) : 0;
  const int first_tile = diagonal + blockIdx.x * task.tiles_per_run;
  const int end_tile = min(first_tile + task.tiles_per_run, tiles);
  if (first_tile >= end_tile) return;

  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int warp_row = warp / Tile::kWarpColumns, warp_column = warp % Tile::kWarpColumns;
  const int64_t row = int64_t(tile_row) * Tile::kRows, first_row = row + warp_row * Sums::kRows;
  // In shared memory: in registers the ranks would stand in the way of the products. The pipeline synchronises first.
  if (threadIdx.x < Tile::kRows) own.row_rank[threadIdx.x] = task.row_rank[row + threadIdx.x];
  RowStatistics<Sums, kTerms> by_row;
  by_row.clear();

  for_each_logits_tile<Tile>(
      operand_of(task.rows), operand_of(task.columns), row, first_tile, end_tile, shared_address(shared),
      [&](Sums &sums, int tile) {
        constexpr int kFragments = Sums::kRows / 16, kColumnsOfLane = Sums::kColumns / 4;
        const int64_t column = int64_t(tile) * Tile::kColumns, first_column = column + warp_column * Sums::kColumns;
        const int64_t row_end = min(row + Tile::kRows, task.rows.rows), column_end = column + Tile::kColumns;
        const bool ragged = row + Tile::kRows > task.rows.rows || column_end > task.columns.rows;
        if (ragged || task.pairs.row_ids || touches(task.pairs.apart, row, row_end, column, column_end))
          mask(sums, task.pairs, first_row, task.rows.rows, first_column, task.columns.rows);

        float row_rank[kFragments][2];
#pragma unroll
        for (int m = 0; m < kFragments; ++m)
#pragma unroll
          for (int h = 0; h < 2; ++h) row_rank[m][h] = own.row_rank[warp_row * Sums::kRows + Sums::row(lane, m, 2 * h)];

        if constexpr (kTerms != Terms::kExponentials) {
          if (task.ranks)
            sums.for_each([&](float &dot, int m, int, int q) {
              count_if_above(by_row.above[m][q >> 1], dot, row_rank[m][q >> 1]);
            });
          if constexpr (kTerms == Terms::kSigmoids) return by_row.add_sigmoids(sums, task.exponent, task.shift);
          by_row.raise(sums, task.exponent);
          sums.for_each([&](float &dot, int m, int, int q) {
            by_row.sum[m][q >> 1] += power_of_two((dot - by_row.base(m, q >> 1)) * task.exponent);
          });
          return;
        }

        const bool of_columns = task.column_rank && !(task.triangular && column < row + Tile::kRows);
        float column_sum[kColumnsOfLane];
        int32_t column_above[kColumnsOfLane];
#pragma unroll
        for (int n = 0; n < Sums::kColumns / 8; ++n) {
          float2 rank = make_float2(INFINITY, INFINITY);
          if (of_columns)
            rank = *reinterpret_cast<const float2 *>(task.column_rank + first_column + Sums::column(lane, n, 0));
#pragma unroll
          for (int side = 0; side < 2; ++side) {
            float sum = 0;
            int32_t above = 0;
            if (task.ranks)
#pragma unroll
              for (int m = 0; m < kFragments; ++m)
#pragma unroll
                for (int h = 0; h < 2; ++h) {
                  const float dot = sums.at[m][n][2 * h + side];
                  count_if_above(by_row.above[m][h], dot, row_rank[m][h]);
                  count_if_above(above, dot, side ? rank.y : rank.x);
                }
#pragma unroll
            for (int m = 0; m < kFragments; ++m)
#pragma unroll
              for (int h = 0; h < 2; ++h) {
                const float exponential = power_of_two(sums.at[m][n][2 * h + side] * task.exponent);
                by_row.sum[m][h] += exponential;
                sum += exponential;
              }
            column_sum[2 * n + side] = sum, column_above[2 * n + side] = above;
          }
        }
        if (!of_columns) return;
        const int c = sum_over_rows(column_sum, lane);
        sum_over_rows(column_above, lane);
#pragma unroll
        for (int k = 0; k < kColumnsOfLane / 8; ++k) {
          const int at = warp_column * Sums::kColumns + Sums::column(lane, (c + k) / 2, (c + k) % 2);
          own.column_sum[warp_row][at] = column_sum[k];
          own.column_above[warp_row][at] = column_above[k];
        }
        __syncthreads();
        for (int at = threadIdx.x; at < Tile::kColumns; at += Tile::kThreads) {
          const int64_t slot = int64_t(blockIdx.y) * task.columns.padded_rows + column + at;
          float sum = own.column_sum[0][at];
          int32_t above = own.column_above[0][at];
#pragma unroll
          for (int w = 1; w < Tile::kWarpRows; ++w) sum += own.column_sum[w][at], above += own.column_above[w][at];
          task.by_column.sum[slot] = sum;
          task.by_column.above[slot] = above;
        }
        // The pipeline synchronises before the next tile is used.
      });

  // Rows: lanes, then the warps side by side, through the shared memory that the pipeline no longer needs.
  by_row.join_lanes(task.exponent);
  __syncthreads();
  auto *side = reinterpret_cast<float(*)[3][Tile::kRows]>(shared);  // [warp column][sum, above, maximum]
  if (lane % 4 == 0) {
#pragma unroll
    for (int m = 0; m < Sums::kRows / 16; ++m)
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const int at = warp_row * Sums::kRows + Sums::row(lane, m, 2 * h);
        side[warp_column][0][at] = by_row.sum[m][h];
        side[warp_column][1][at] = __int_as_float(by_row.above[m][h]);
        side[warp_column][2][at] = by_row.maximum[m][h];
      }
  }
  __syncthreads();
  const int64_t slot = int64_t(blockIdx.x) * gridDim.y * Tile::kRows + int64_t(blockIdx.y) * Tile::kRows;
  for (int at = threadIdx.x; at < Tile::kRows; at += Tile::kThreads) {
    float sum = side[0][0][at], maximum = side[0][2][at];
    int32_t above = __float_as_int(side[0][1][at]);
#pragma unroll
    for (int w = 1; w < Tile::kWarpColumns; ++w) {
      above += __float_as_int(side[w][1][at]);
      if constexpr (kTerms != Terms::kExponentials)
        RowStatistics<Sums, kTerms>::join(maximum, sum, side[w][2][at], side[w][0][at], task.exponent);
      else sum += side[w][0][at];
    }
    task.by_row.sum[slot + at] = sum;
    task.by_row.above[slot + at] = above;
    if constexpr (kTerms != Terms::kExponentials) task.by_row.maximum[slot + at] = maximum;
  }
}

}  // namespace infonce::cuda

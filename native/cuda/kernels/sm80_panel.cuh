// The gradient for every dimension and level: a panel of weights W_ij in bfloat16, as many planes as the operands have,
// is written to memory that stays in the cache, and multiplied by the candidates' unit rows.
#pragma once

#include "cuda/kernels/sigmoid_tile.cuh"
#include "cuda/kernels/sm80_logits.cuh"
#include "cuda/kernels/trace.cuh"

namespace infonce::cuda {

struct WeightsShared {
  float weight[kRowMultiple], log2_sum[kRowMultiple];  // of the tallest tile
};

// Where the panel holds candidate j: in each 32, lane after lane what that lane has of a row, 8 numbers that it writes
// at once. The product reads the candidates' unit rows in the same order.
INFONCE_DEVICE constexpr int place_in_panel(int j) {
  return (j & ~31) | ((j >> 1) & 3) << 3 | ((j >> 3) & 3) << 1 | (j & 1);
}

// Grid: x runs of column tiles, y tile rows of the panel.
template <class Tile, Terms kTerms>
__global__ void __launch_bounds__(Tile::kThreads) write_panel(Trace trace, const __grid_constant__ PanelTask task) {
  constexpr int kPlanes = Tile::kPlanes;
  constexpr bool kOnline = kTerms == Terms::kOnline;
  using Sums = typename Tile::Sums;
  trace.mark();
  if (trace.is_cancelled()) return;
  extern __shared__ __align__(128) unsigned char shared[];
  const WeightsOf &of = task.weights;
  const int tile_row = task.first_tile_row + blockIdx.y;
  const int first_tile = task.first_tile + blockIdx.x * task.tiles_per_run;
  const int end_tile = min(first_tile + task.tiles_per_run, task.end_tile);
  if (first_tile >= end_tile) return;
  const int64_t row = int64_t(tile_row) * Tile::kRows;
  // In shared memory: in registers they would stand in the way of the products. The pipeline synchronises first.
  auto &own = *reinterpret_cast<WeightsShared *>(shared + Tile::kPipelineBytes);
  if (threadIdx.x < Tile::kRows) {
    own.weight[threadIdx.x] = of.owner_weight[row + threadIdx.x];
    if constexpr (kOnline) own.log2_sum[threadIdx.x] = of.owner_log2_sum[row + threadIdx.x];
  }

  for_each_logits_tile<Tile>(
      operand_of(of.owner), operand_of(of.other), row, first_tile, end_tile, shared_address(shared),
      [&](Sums &sums, int tile) {
        constexpr int kFragments = Sums::kRows / 16;
        const int warp = thread_index() / 32, lane = thread_index() % 32;
        const int warp_row = warp / Tile::kWarpColumns, warp_column = warp % Tile::kWarpColumns;
        const int64_t first_row = row + warp_row * Sums::kRows;
        const int64_t column = int64_t(tile) * Tile::kColumns, first_column = column + warp_column * Sums::kColumns;
#pragma unroll
        for (int n = 0; n < Sums::kColumns / 8; ++n) {
          const int64_t j = first_column + Sums::column(lane, n, 0);
          const float2 weight = *reinterpret_cast<const float2 *>(of.other_weight + j);
          float2 log2_sum = make_float2(0, 0);
          if constexpr (kOnline) log2_sum = *reinterpret_cast<const float2 *>(of.other_log2_sum + j);
#pragma unroll
          for (int m = 0; m < kFragments; ++m)
#pragma unroll
            for (int q = 0; q < 4; ++q) {
              float &dot = sums.at[m][n][q];
              const int row_of_block = warp_row * Sums::kRows + Sums::row(lane, m, q);
              const float row_weight = own.weight[row_of_block], column_weight = q & 1 ? weight.y : weight.x;
              if constexpr (kOnline) {
                const float row_log2_sum = own.log2_sum[row_of_block],
                            column_log2_sum = q & 1 ? log2_sum.y : log2_sum.x;
                dot = row_weight * power_of_two(fmaf(dot, of.exponent, -row_log2_sum)) +
                      column_weight * power_of_two(fmaf(dot, of.exponent, -column_log2_sum));
              } else if constexpr (kTerms == Terms::kSigmoids) {
                dot = SigmoidOfLogit(fmaf(dot, of.exponent, of.shift)).slope * (row_weight + column_weight);
              } else {
                dot = power_of_two(dot * of.exponent) * (row_weight + column_weight);
              }
            }
        }
        const int64_t row_end = min(row + Tile::kRows, of.owner.rows), column_end = column + Tile::kColumns;
        if (of.pairs.row_ids || touches(of.pairs.apart, row, row_end, column, column_end) ||
            touches(of.pairs.classes, row, row_end, column, column_end))
          take_pairs_off(sums, of, first_row, first_column);
        if (kOnline && column_end > of.other.rows) take_padding_off(sums, of, first_row, first_column);

        const int64_t plane = int64_t(task.panel_rows) * task.panel_columns;
        __nv_bfloat16 *corner = task.panel + int64_t(blockIdx.y) * Tile::kRows * task.panel_columns +
                                int64_t(tile - task.first_tile) * Tile::kColumns;
#pragma unroll
        for (int m = 0; m < kFragments; ++m)
#pragma unroll
          for (int h = 0; h < 2; ++h) {
            const int thread = thread_index();  // anew for each row: its address is not worth a register before
            const int w = thread / 32, l = thread % 32;
            __nv_bfloat16 *to = corner +
                                (w / Tile::kWarpColumns * Sums::kRows + Sums::row(l, m, 2 * h)) * task.panel_columns +
                                w % Tile::kWarpColumns * Sums::kColumns + l % 4 * 8;
#pragma unroll
            for (int n = 0; n < Sums::kColumns / 8; n += 4) {
              uint32_t planes[4][kPlanes];
#pragma unroll
              for (int k = 0; k < 4; ++k)
                split<kPlanes>(sums.at[m][n + k][2 * h], sums.at[m][n + k][2 * h + 1], planes[k]);
#pragma unroll
              for (int p = 0; p < kPlanes; ++p)
                store16(to + p * plane + n * 8, planes[0][p], planes[1][p], planes[2][p], planes[3][p]);
            }
          }
      });
}

// accumulators = panel x unit rows of `other`, or += . Grid: x 128 columns of the dimension, y tile rows of the panel,
// z splits of the panel's columns.
template <class Tile>
__global__ void __launch_bounds__(Tile::kThreads)
    accumulate_panel(Trace trace, const __grid_constant__ AccumulateTask task) {
  using Sums = typename Tile::Sums;
  trace.mark();
  if (trace.is_cancelled()) return;
  // The pipeline of the logits fits: a chunk of 128 candidates there is one of 128 elements of the dimension here.
  constexpr int kPlanes = Tile::kPlanes, kDepth = Tile::kDepth, kColumnChunks = Tile::kColumns / 8;
  static_assert(!Tile::kKeepsRows, "rows of the panel stream");
  extern __shared__ __align__(128) unsigned char shared[];
  const uint32_t pipeline = shared_address(shared);
  const int64_t panel_row = int64_t(blockIdx.y) * Tile::kRows, padded_dim = task.other.padded_dim;
  const int64_t dim = int64_t(blockIdx.x) * Tile::kColumns;
  const int dim_chunks = static_cast<int>(min(int64_t(Tile::kColumns), padded_dim - dim) / 8);
  const int all_steps = task.columns / kDepth,
            first_step = static_cast<int>(int64_t(all_steps) * blockIdx.z / gridDim.z);
  const int steps = static_cast<int>(int64_t(all_steps) * (blockIdx.z + 1) / gridDim.z) - first_step;
  const int64_t panel_plane = int64_t(task.panel_rows) * task.panel_columns;

  const auto copy_step = [&](int step_of_block, int stage) {
    if (step_of_block < steps) {
      const int step = first_step + step_of_block;
      const uint32_t a = pipeline + stage * Tile::kStageBytes, b = a + Tile::kRowBytes;
#pragma unroll
      for (int p = 0; p < kPlanes; ++p) {
        copy_tile<Tile::kRows, kDepth / 8, Tile::kThreads>(
            a + p * Tile::kRows * kDepth * 2,
            task.panel + p * panel_plane + panel_row * task.panel_columns + step * kDepth, task.panel_columns);
        copy_tile<kDepth, kColumnChunks, Tile::kThreads>(
            b + p * kDepth * Tile::kColumns * 2,
            task.other.planes + p * task.other.plane_size() + (task.first_column + step * kDepth) * padded_dim + dim,
            padded_dim, dim_chunks, [](int row) { return place_in_panel(row); });
      }
    }
    commit_copies();
  };
#pragma unroll
  for (int stage = 0; stage < Tile::kStages - 1; ++stage) copy_step(stage, stage);

  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int warp_row = warp / Tile::kWarpColumns * Sums::kRows,
            warp_column = warp % Tile::kWarpColumns * Sums::kColumns;
  const auto multiply_step = [&](Sums &into, uint32_t a, uint32_t b) {
    const LeftRows left = left_rows<kDepth>(thread_index() & 31, a, warp_row);
#pragma unroll
    for (int k = 0; k < kDepth / 8; k += 2) {
      uint32_t a_matrices[kPlanes][Sums::kRows / 16][4];
      load_left<kPlanes, kDepth, Tile::kRows>(a_matrices, left, k);
      multiply_columns<kPlanes, kColumnChunks, kDepth>(into, a_matrices, b + k * 8 * kColumnChunks * 16, warp_column);
    }
  };

  Sums sums;
  sums.clear();
  int stage = 0;
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    wait_for_copies<Tile::kStages - 2>();
    __syncthreads();
    copy_step(step + Tile::kStages - 1, stage == 0 ? Tile::kStages - 1 : stage - 1);
    const uint32_t a = pipeline + stage * Tile::kStageBytes;
    if constexpr (Tile::kTakesOver) {
      Sums of_step;
      of_step.clear();
      multiply_step(of_step, a, a + Tile::kRowBytes);
      sums.add(of_step);
    } else {
      multiply_step(sums, a, a + Tile::kRowBytes);
    }
    if (++stage == Tile::kStages) stage = 0;
  }

  float *accumulators = task.accumulators + blockIdx.z * task.owner_plane;
#pragma unroll
  for (int m = 0; m < Sums::kRows / 16; ++m)
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int64_t row = task.first_row + panel_row + warp_row + Sums::row(lane, m, 2 * h);
#pragma unroll
      for (int n = 0; n < Sums::kColumns / 8; ++n) {
        const int64_t d = dim + warp_column + Sums::column(lane, n, 0);
        if (d >= padded_dim) continue;
        auto *to = reinterpret_cast<float2 *>(accumulators + row * padded_dim + d);
        float2 sum = make_float2(sums.at[m][n][2 * h], sums.at[m][n][2 * h + 1]);
        if (task.add) {
          const float2 before = *to;
          sum.x += before.x, sum.y += before.y;
        }
        *to = sum;
      }
    }
}

}  // namespace infonce::cuda

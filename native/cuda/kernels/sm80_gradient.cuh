// The gradient with everything in registers, for dimensions up to 256 and one product: a block owns 128 rows, computes
// a tile of logits, makes weights of it in place, and multiplies them by the very tile of unit rows that the logits
// came from. One load for two products, and W never leaves the chip. Up to dimension 128 a warp has its own 32 rows; at
// 256 two warps share 32 rows, each half of the columns and of the dimension, and exchange their weights through shared
// memory.
#pragma once

#include "cuda/kernels/sm80_panel.cuh"

namespace infonce::cuda {

template <int kDimension> struct GradientTile {
  static_assert(kDimension == 64 || kDimension == 128 || kDimension == 256, "the padded dimensions it is made for");
  static constexpr int kDim = kDimension;
  static constexpr int kRows = 128, kColumns = 64, kStages = 2;
  static constexpr int kWarpRows = 4, kWarpColumns = kDim == 256 ? 2 : 1;
  static constexpr bool kExchanges = kWarpColumns > 1;
  static constexpr int kThreads = kWarpRows * kWarpColumns * 32;
  using Weights = Accumulators<kRows / kWarpRows / 16, kColumns / kWarpColumns / 8>;
  using Sums = Accumulators<kRows / kWarpRows / 16, kDim / kWarpColumns / 8>;

  static constexpr int kOwnerBytes = kRows * kDim * 2, kStageBytes = kColumns * kDim * 2;
  static constexpr int kExchangeBytes = kExchanges ? kRows * kColumns * 2 : 0;
  static constexpr int kWeightsBytes = kStages * kColumns * 4;
  static constexpr int kSharedBytes = kOwnerBytes + kStages * kStageBytes + kExchangeBytes + kWeightsBytes;
};

// Grid: x tile rows of the owner, y splits of the columns.
template <int kDimension>
__global__ void __launch_bounds__(GradientTile<kDimension>::kThreads)
    gradient(Trace trace, const __grid_constant__ GradientTask task) {
  using Tile = GradientTile<kDimension>;
  using Weights = typename Tile::Weights;
  using Sums = typename Tile::Sums;
  constexpr int kDim = Tile::kDim, kRowChunks = kDim / 8;
  trace.mark();
  const WeightsOf &of = task.weights;
  extern __shared__ __align__(128) unsigned char shared[];
  const uint32_t owner = shared_address(shared), stages = owner + Tile::kOwnerBytes;
  const uint32_t exchange = stages + Tile::kStages * Tile::kStageBytes;
  auto *other_weight = reinterpret_cast<float(*)[Tile::kColumns]>(shared + Tile::kSharedBytes - Tile::kWeightsBytes);

  const int tiles = static_cast<int>((of.other.rows + Tile::kColumns - 1) / Tile::kColumns);
  const int first_tile = static_cast<int>(int64_t(tiles) * blockIdx.y / gridDim.y);
  const int end_tile = static_cast<int>(int64_t(tiles) * (blockIdx.y + 1) / gridDim.y);
  const int64_t row = int64_t(blockIdx.x) * Tile::kRows;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int warp_row = warp / Tile::kWarpColumns * Weights::kRows, warp_column = warp % Tile::kWarpColumns;

  const auto copy_stage = [&](int tile, int stage) {
    if (tile < end_tile) {
      const int64_t column = int64_t(tile) * Tile::kColumns;
      copy_tile<Tile::kColumns, kRowChunks, Tile::kThreads>(stages + stage * Tile::kStageBytes,
                                                            of.other.planes + column * kDim, kDim);
      const int at = thread_index();
      if (at < Tile::kColumns) copy_async4(shared_address(&other_weight[stage][at]), of.other_weight + column + at);
    }
    commit_copies();
  };
  copy_tile<Tile::kRows, kRowChunks, Tile::kThreads>(owner, of.owner.planes + row * kDim, kDim);
  copy_stage(first_tile, 0);

  float row_weight[Weights::kRows / 16][2];
#pragma unroll
  for (int m = 0; m < Weights::kRows / 16; ++m)
#pragma unroll
    for (int h = 0; h < 2; ++h) row_weight[m][h] = of.owner_weight[row + warp_row + Weights::row(lane, m, 2 * h)];
  Sums sums;
  sums.clear();

  int stage = 0;
#pragma unroll 1
  for (int tile = first_tile; tile < end_tile; ++tile, stage ^= 1) {
    wait_for_copies<0>();
    __syncthreads();
    copy_stage(tile + 1, stage ^ 1);
    const uint32_t other = stages + stage * Tile::kStageBytes;

    Weights weights;
    weights.clear();
    multiply_rows<1, kDim, Tile::kRows, Tile::kColumns>(weights, owner, other, warp_row,
                                                        warp_column * Weights::kColumns);
#pragma unroll
    for (int n = 0; n < Weights::kColumns / 8; ++n) {
      const float2 column_weight = *reinterpret_cast<const float2 *>(
          &other_weight[stage][warp_column * Weights::kColumns + Weights::column(lane, n, 0)]);
#pragma unroll
      for (int m = 0; m < Weights::kRows / 16; ++m)
#pragma unroll
        for (int q = 0; q < 4; ++q) {
          float &dot = weights.at[m][n][q];
          dot = power_of_two(dot * of.exponent) * (row_weight[m][q >> 1] + (q & 1 ? column_weight.y : column_weight.x));
        }
    }
    // Padding needs no mask: its unit rows are zeros.
    const int64_t column = int64_t(tile) * Tile::kColumns, column_end = column + Tile::kColumns;
    const int64_t row_end = min(row + Tile::kRows, of.owner.rows);
    if (touches(of.pairs.apart, row, row_end, column, column_end) ||
        touches(of.pairs.classes, row, row_end, column, column_end))
      take_pairs_off(weights, of, row + warp_row, column + warp_column * Weights::kColumns);

    constexpr int kExchangeChunks = Tile::kColumns / 8;
    if constexpr (Tile::kExchanges) {
#pragma unroll
      for (int m = 0; m < Weights::kRows / 16; ++m)
#pragma unroll
        for (int n = 0; n < Weights::kColumns / 8; ++n)
#pragma unroll
          for (int h = 0; h < 2; ++h) {
            const int chunk = warp_column * Weights::kColumns / 8 + n;
            const uint32_t to = exchange + (lane & 3) * 4 +
                                tile_offset<kExchangeChunks>(warp_row + Weights::row(lane, m, 2 * h), chunk);
            asm volatile("st.shared.b32 [%0], %1;" ::"r"(to),
                         "r"(pack_bfloat16(weights.at[m][n][2 * h], weights.at[m][n][2 * h + 1]))
                         : "memory");
          }
      // Only the warps of these rows meet.
      asm volatile("bar.sync %0, %1;" ::"r"(1 + warp / Tile::kWarpColumns), "n"(Tile::kWarpColumns * 32) : "memory");
    }
#pragma unroll
    for (int k = 0; k < Tile::kColumns / 16; ++k) {
      uint32_t a[1][Weights::kRows / 16][4];
#pragma unroll
      for (int m = 0; m < Weights::kRows / 16; ++m) {
        if constexpr (Tile::kExchanges) {
          const int l = thread_index() & 31;
          load_matrices(a[0][m],
                        exchange + tile_offset<kExchangeChunks>(warp_row + m * 16 + (l & 15), k * 2 + (l >> 4)));
        } else {
          // The accumulators of a product lie in registers just as its left operand must.
#pragma unroll
          for (int r = 0; r < 4; ++r) {
            const float(&pair)[4] = weights.at[m][2 * k + (r >> 1)];
            a[0][m][r] = pack_bfloat16(pair[(r & 1) * 2], pair[(r & 1) * 2 + 1]);
          }
        }
      }
      multiply_columns<1, kRowChunks, Tile::kColumns>(sums, a, other + k * 16 * kDim * 2, warp_column * Sums::kColumns);
    }
  }

  float *to = task.accumulators + int64_t(blockIdx.y) * of.owner.plane_size();
#pragma unroll
  for (int m = 0; m < Sums::kRows / 16; ++m)
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int64_t i = row + warp_row + Sums::row(lane, m, 2 * h);
#pragma unroll
      for (int n = 0; n < Sums::kColumns / 8; ++n) {
        const int64_t d = warp_column * Sums::kColumns + Sums::column(lane, n, 0);
        *reinterpret_cast<float2 *>(to + i * kDim + d) = make_float2(sums.at[m][n][2 * h], sums.at[m][n][2 * h + 1]);
      }
    }
}

}  // namespace infonce::cuda

// The gradient with everything in registers, for dimensions up to 256 and one or three products: a block owns rows,
// computes a tile of logits, makes weights of it in place, and multiplies them by the very tile of unit rows that the
// logits came from. One load for two products, and W never leaves the chip. Up to dimension 128 a warp has its own 32
// rows; at 256 two warps share 32 rows, each half of the columns and of the dimension, and exchange their weights
// through shared memory. Six products are not for this kernel: its sums stay in the tensor cores' accumulators, which
// truncate, and there is no room for others to take them over.
#pragma once

#include "cuda/kernels/sm80_panel.cuh"

namespace infonce::cuda {

template <int kPlanesOfRows, int kDimension> struct GradientTile {
  static_assert(kDimension == 64 || kDimension == 128 || kDimension == 256, "the padded dimensions it is made for");
  static_assert(kPlanesOfRows <= 2, "see above");
  static constexpr int kPlanes = kPlanesOfRows, kDim = kDimension, kStages = 2;
  // Two planes of dimension 256 leave shared memory for 64 rows, and from 128 on for 32 columns.
  static constexpr int kRows = kPlanes == 2 && kDim == 256 ? 64 : 128;
  static constexpr int kColumns = kPlanes == 2 && kDim >= 128 ? 32 : 64;
  static constexpr int kWarpRows = kRows / 32, kWarpColumns = kDim == 256 ? 2 : 1;
  static constexpr bool kExchanges = kWarpColumns > 1;
  static constexpr int kThreads = kWarpRows * kWarpColumns * 32;
  // That a multiprocessor keeps room for; 0: as many as ptxas likes, which with two planes of 64 would be three, and spill.
  static constexpr int kBlocks = kPlanes == 2 && kDim == 64 ? 2 : 0;
  static constexpr bool kHasIds = kDim <= kMostDimOfIds;
  using Weights = Accumulators<kRows / kWarpRows / 16, kColumns / kWarpColumns / 8>;
  using Sums = Accumulators<kRows / kWarpRows / 16, kDim / kWarpColumns / 8>;

  static constexpr int kOwnerBytes = kPlanes * kRows * kDim * 2, kStageBytes = kPlanes * kColumns * kDim * 2;
  static constexpr int kExchangeBytes = kExchanges ? kPlanes * kRows * kColumns * 2 : 0;
  static constexpr int kWeightsBytes = kStages * kColumns * 4;
  static constexpr int kSharedBytes = kOwnerBytes + kStages * kStageBytes + kExchangeBytes + kWeightsBytes;
};

// Grid: x blocks of the owner's rows, y splits of the columns.
template <class Tile>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    gradient(Trace trace, const __grid_constant__ GradientTask task) {
  using Weights = typename Tile::Weights;
  using Sums = typename Tile::Sums;
  constexpr int kPlanes = Tile::kPlanes, kDim = Tile::kDim, kRowChunks = kDim / 8;
  trace.mark();
  if (trace.is_cancelled()) return;
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
#pragma unroll
      for (int p = 0; p < kPlanes; ++p)
        copy_tile<Tile::kColumns, kRowChunks, Tile::kThreads>(
            stages + stage * Tile::kStageBytes + p * Tile::kColumns * kDim * 2,
            of.other.planes + p * of.other.plane_size() + column * kDim, kDim);
      const int at = thread_index();
      if (at < Tile::kColumns) copy_async4(shared_address(&other_weight[stage][at]), of.other_weight + column + at);
    }
    commit_copies();
  };
#pragma unroll
  for (int p = 0; p < kPlanes; ++p)
    copy_tile<Tile::kRows, kRowChunks, Tile::kThreads>(owner + p * Tile::kRows * kDim * 2,
                                                       of.owner.planes + p * of.owner.plane_size() + row * kDim, kDim);
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
    multiply_rows<kPlanes, kDim, Tile::kRows, Tile::kColumns>(weights, owner, other, warp_row,
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
    if ((Tile::kHasIds && of.pairs.row_ids) || touches(of.pairs.apart, row, row_end, column, column_end) ||
        touches(of.pairs.classes, row, row_end, column, column_end))
      take_pairs_off<Tile::kHasIds>(weights, of, row + warp_row, column + warp_column * Weights::kColumns);

    constexpr int kExchangeChunks = Tile::kColumns / 8, kExchangePlane = Tile::kRows * Tile::kColumns * 2;
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
            uint32_t planes[kPlanes];
            split<kPlanes>(weights.at[m][n][2 * h], weights.at[m][n][2 * h + 1], planes);
#pragma unroll
            for (int p = 0; p < kPlanes; ++p) store_shared4(to + p * kExchangePlane, planes[p]);
          }
      // Only the warps of these rows meet.
      asm volatile("bar.sync %0, %1;" ::"r"(1 + warp / Tile::kWarpColumns), "n"(Tile::kWarpColumns * 32) : "memory");
    }
#pragma unroll
    for (int k = 0; k < Tile::kColumns / 16; ++k) {
      uint32_t a[kPlanes][Weights::kRows / 16][4];
#pragma unroll
      for (int m = 0; m < Weights::kRows / 16; ++m) {
        if constexpr (Tile::kExchanges) {
          const int l = thread_index() & 31;
          const uint32_t from = exchange + tile_offset<kExchangeChunks>(warp_row + m * 16 + (l & 15), k * 2 + (l >> 4));
#pragma unroll
          for (int p = 0; p < kPlanes; ++p) load_matrices(a[p][m], from + p * kExchangePlane);
        } else {
          // The accumulators of a product lie in registers just as its left operand must.
#pragma unroll
          for (int r = 0; r < 4; ++r) {
            const float(&pair)[4] = weights.at[m][2 * k + (r >> 1)];
            uint32_t planes[kPlanes];
            split<kPlanes>(pair[(r & 1) * 2], pair[(r & 1) * 2 + 1], planes);
#pragma unroll
            for (int p = 0; p < kPlanes; ++p) a[p][m][r] = planes[p];
          }
        }
      }
      multiply_columns<kPlanes, kRowChunks, Tile::kColumns>(sums, a, other + k * 16 * kDim * 2,
                                                            warp_column * Sums::kColumns);
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

// The dot products of all rows of one tower with all rows of another, tile by tile: what the log-sum-exp and the
// weights panel are computed from. A block walks along a row of tiles; both operands stream through shared memory in
// chunks of the dimension, so any dimension will do.
#pragma once

#include "cuda/kernels/tile_shapes.h"
#include "cuda/kernels/sm80_tile.cuh"
#include "cuda/kernels/tile_pairs.cuh"

namespace infonce::cuda {

template <int kPlanesOfRows, TileShape kShape> struct LogitsTile {
  static constexpr int kPlanes = kPlanesOfRows;
  static constexpr bool kKeepsRows = kShape == TileShape::kKeptRows;
  // Tensor cores truncate when they accumulate, which six products are too exact for (H. Ootomo and R. Yokota,
  // Recovering single precision accuracy from Tensor Cores, 2022): the sum of each chunk is added to others, with
  // rounding.
  static constexpr bool kTakesOver = kPlanes == 3;
  static_assert(!kTakesOver || kShape == TileShape::kSmallWarps, "two sets of accumulators need small warps");
  static constexpr int kRows = rows_of(kShape), kColumns = kTileColumns;
  static constexpr int kDepth = kPlanes == 1 ? 64 : 32;
  static constexpr int kStages = kShape == TileShape::kTall ? 3 : 2;
  static constexpr int kWarpRows = kRows / 64, kWarpColumns = kShape == TileShape::kSmallWarps ? 4 : 2;
  static constexpr int kThreads = kWarpRows * kWarpColumns * 32;
  using Sums = Accumulators<kRows / kWarpRows / 16, kColumns / kWarpColumns / 8>;

  static constexpr int kRowBytes = kPlanes * kRows * kDepth * 2, kColumnBytes = kPlanes * kColumns * kDepth * 2;
  static constexpr int kKeptBytes = kKeepsRows ? kPlanes * kRows * kMostKeptDim * 2 : 0;
  static constexpr int kStageBytes = (kKeepsRows ? 0 : kRowBytes) + kColumnBytes;
  static constexpr int kPipelineBytes = kKeptBytes + kStages * kStageBytes;
};

struct LogitsOperand {
  const __nv_bfloat16 *planes;
  int64_t plane_size;
  int32_t padded_dim;
};

INFONCE_DEVICE LogitsOperand operand_of(const Tower &tower) {
  return {tower.planes, tower.plane_size(), static_cast<int32_t>(tower.padded_dim)};
}

template <class Tile, int kRows>
INFONCE_DEVICE void copy_chunk(uint32_t to, const LogitsOperand &operand, int64_t row, int chunk) {
#pragma unroll
  for (int p = 0; p < Tile::kPlanes; ++p)
    copy_tile<kRows, Tile::kDepth / 8, Tile::kThreads>(
        to + p * kRows * Tile::kDepth * 2,
        operand.planes + p * operand.plane_size + row * operand.padded_dim + chunk * Tile::kDepth, operand.padded_dim);
}

// Calls use(sums, tile) for column tiles first_tile ... end_tile of the tile row that begins at `row`, with the dot
// products of the warp's part. `use` may synchronise the block.
template <class Tile, class Use>
INFONCE_DEVICE void for_each_logits_tile(const LogitsOperand &rows, const LogitsOperand &columns, int64_t row,
                                         int first_tile, int end_tile, uint32_t pipeline, Use &&use) {
  const int chunks = rows.padded_dim / Tile::kDepth;
  int next_tile = first_tile, next_chunk = 0;
  const auto place_of_rows = [&](int stage, int chunk) {
    return Tile::kKeepsRows ? pipeline + chunk * Tile::kRowBytes : pipeline + stage * Tile::kStageBytes;
  };
  const auto place_of_columns = [&](int stage) {
    return pipeline + Tile::kKeptBytes + (stage + 1) * Tile::kStageBytes - Tile::kColumnBytes;
  };
  const auto copy_next = [&](int stage) {
    if (next_tile < end_tile) {
      if (!Tile::kKeepsRows || next_tile == first_tile)
        copy_chunk<Tile, Tile::kRows>(place_of_rows(stage, next_chunk), rows, row, next_chunk);
      copy_chunk<Tile, Tile::kColumns>(place_of_columns(stage), columns, int64_t(next_tile) * Tile::kColumns,
                                       next_chunk);
      if (++next_chunk == chunks) next_chunk = 0, ++next_tile;
    }
    commit_copies();
  };
#pragma unroll
  for (int stage = 0; stage < Tile::kStages - 1; ++stage) copy_next(stage);

  const int warp = threadIdx.x / 32;
  const int first_row = warp / Tile::kWarpColumns * Tile::Sums::kRows;
  const int first_column = warp % Tile::kWarpColumns * Tile::Sums::kColumns;
  int stage = 0;
#pragma unroll 1
  for (int tile = first_tile; tile < end_tile; ++tile) {
    typename Tile::Sums sums;
    sums.clear();
#pragma unroll 1
    for (int chunk = 0; chunk < chunks; ++chunk) {
      wait_for_copies<Tile::kStages - 2>();
      __syncthreads();  // all have their copies, and none reads the stage that is filled next
      copy_next(stage == 0 ? Tile::kStages - 1 : stage - 1);
      const uint32_t a = place_of_rows(stage, chunk), b = place_of_columns(stage);
      if constexpr (Tile::kTakesOver) {
        typename Tile::Sums of_chunk;
        of_chunk.clear();
        multiply_rows<Tile::kPlanes, Tile::kDepth, Tile::kRows, Tile::kColumns>(of_chunk, a, b, first_row,
                                                                                first_column);
        sums.add(of_chunk);
      } else {
        multiply_rows<Tile::kPlanes, Tile::kDepth, Tile::kRows, Tile::kColumns>(sums, a, b, first_row, first_column);
      }
      if (++stage == Tile::kStages) stage = 0;
    }
    use(sums, tile);
  }
}

}  // namespace infonce::cuda

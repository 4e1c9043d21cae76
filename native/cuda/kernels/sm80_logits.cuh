// The dot products of all rows of one tower with all rows of another, tile by tile: what the log-sum-exp and the
// weights panel are computed from. A block walks along a row of tiles; both operands stream through shared memory in
// chunks of the dimension, so any dimension will do.
#pragma once

#include "cuda/kernels/tile_shapes.h"
#include "cuda/kernels/sm80_tile.cuh"
#include "cuda/kernels/tasks.h"

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

// Calls visit(row, row < rows, for_each_column) for the lane's rows of a tile, one after the other; for_each_column
// calls visit(element, column within the warp's part). For what few tiles need: nothing of a row is held in registers
// beyond it, where the sums are in the way.
template <class Sums, class Visit>
INFONCE_DEVICE void for_each_row(Sums &sums, int64_t first_row, int64_t rows, Visit &&visit) {
#pragma unroll
  for (int m = 0; m < Sums::kRows / 16; ++m)
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int lane = thread_index() & 31;
      const int64_t i = first_row + Sums::row(lane, m, 2 * h);
      visit(i, i < rows, [&](auto &&visit_element) {
#pragma unroll
        for (int n = 0; n < Sums::kColumns / 8; ++n)
#pragma unroll
          for (int side = 0; side < 2; ++side) visit_element(sums.at[m][n][2 * h + side], Sums::column(lane, n, side));
      });
      asm volatile("" ::: "memory");
    }
}

// Whether rows [first, end) have candidates [column, column_end) in their ranges, which only grow.
INFONCE_DEVICE bool touches(const Range *ranges, int64_t first, int64_t end, int64_t column, int64_t column_end) {
  return ranges && ranges[first].first < column_end && ranges[end - 1].end > column;
}

}  // namespace infonce::cuda

// The shapes of the logits' tiles, and when each is taken. Known to host and device.
#pragma once

#include <cstddef>

namespace infonce::cuda {

enum class TileShape {
  // 128 x 128 by four warps of 64 x 64. Two blocks fit a multiprocessor of compute capability 8.0, 9.0 or 10.0: while
  // one computes exponentials, the other multiplies.
  kSquare,
  // The same with the rows kept in shared memory for the whole walk over the columns. For small dimensions: streamed
  // again for every tile they would double what is asked of the second-level cache, which binds there.
  kKeptRows,
  // 256 x 128 by eight warps, one block to a multiprocessor: three quarters of kSquare's traffic. For large dimensions,
  // where products outweigh the exponentials that nothing overlaps with. Needs 147 KB of shared memory.
  kTall,
  // 128 x 128 by eight warps of 64 x 32, for what needs more registers an element: six products, whose sums are taken
  // over from the tensor cores after every chunk of the dimension, and weights of two exponentials.
  kSmallWarps,
  // Compute capability 9.0, 256 x 128 by two warpgroups of 128 x 128 each. Rows are kept up to dimension 256, and the
  // warpgroups take turns: one's exponentials run under the other's products. Above both operands stream, and what is
  // asked of the second-level cache is the least that 232 KB of shared memory and registers for 128 sums a thread
  // allow.
  kKeptWarpgroups,
  kWarpgroups,
  // The same, 128 x 128 by two of 64 x 128, for six products, which need a second set of accumulators (kSmallWarps).
  kSmallWarpgroups,
};

constexpr int kMostKeptDim = 128, kLeastTallDim = 257;
constexpr size_t kTallSharedBytes = 150 << 10;  // its pipeline and what kernels keep beside it

constexpr int kMostDimOfKeptWarpgroups = 256;
constexpr size_t kSharedBytesOfBlock = 227 << 10;  // that one may have on compute capability 9.0

constexpr bool is_of_warpgroups(TileShape shape) {
  return shape == TileShape::kKeptWarpgroups || shape == TileShape::kWarpgroups || shape == TileShape::kSmallWarpgroups;
}
constexpr int rows_of(TileShape shape) {
  switch (shape) {
    case TileShape::kTall:
    case TileShape::kKeptWarpgroups:
    case TileShape::kWarpgroups:
      return 256;
    default:
      return 128;
  }
}
// Rows whose column statistics are added up in the block.
constexpr int rows_of_column_sums(TileShape shape) {
  return is_of_warpgroups(shape) ? rows_of(shape) / 2 : rows_of(shape);
}
constexpr int kTileColumns = 128;

// Blocks of a cluster, which have neighbouring tiles at a time and copy a part each of the rows that these share.
constexpr int blocks_of_cluster(TileShape shape) {
  return shape == TileShape::kWarpgroups || shape == TileShape::kSmallWarpgroups ? 2 : 1;
}

}  // namespace infonce::cuda

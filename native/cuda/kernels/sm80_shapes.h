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
};

constexpr int kMostKeptDim = 128, kLeastTallDim = 257;
constexpr size_t kTallSharedBytes = 150 << 10;  // its pipeline and what kernels keep beside it

constexpr int rows_of(TileShape shape) { return shape == TileShape::kTall ? 256 : 128; }
constexpr int kTileColumns = 128;

}  // namespace infonce::cuda

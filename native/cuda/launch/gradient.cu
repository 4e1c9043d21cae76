#include "cuda/kernels/sm80_gradient.cuh"

#include "cuda/launch/gradient_parts.h"
#include "cuda/launch/sm80.h"

namespace infonce::cuda {
namespace {

// Calls visit(tile) with the instance for these planes and this dimension.
template <int kPlanes, class Visit> auto with_tile(int64_t padded_dim, Visit &&visit) {
  if (padded_dim == 64) return visit(GradientTile<kPlanes, 64>());
  if (padded_dim == 128) return visit(GradientTile<kPlanes, 128>());
  return visit(GradientTile<kPlanes, 256>());
}

template <class Visit> auto with_tile(Planes planes, int64_t padded_dim, Visit &&visit) {
  return planes == Planes::kMedium ? with_tile<1>(padded_dim, visit) : with_tile<2>(padded_dim, visit);
}

}  // namespace

namespace sm80 {

bool gradient_in_registers(const Hardware &hardware, Planes planes, int64_t padded_dim) {
  if (planes == Planes::kHighest || (padded_dim != 64 && padded_dim != 128 && padded_dim != 256)) return false;
  return with_tile(planes, padded_dim, [&](auto tile) { return tile.kSharedBytes <= hardware.shared_memory; });
}

RegisterBlocks gradient_blocks(const Hardware &hardware, Planes planes, int64_t padded_dim) {
  return with_tile(planes, padded_dim, [&](auto tile) -> RegisterBlocks {
    using Tile = decltype(tile);
    const auto kernel = cuda::gradient<Tile>;
    return {Tile::kRows, hardware.resident_blocks("gradient", kernel, Tile::kThreads, Tile::kSharedBytes)};
  });
}

void gradient(Stream &stream, Planes planes, const GradientTask &task, int splits) {
  const Tower &owner = task.weights.owner;
  with_tile(planes, owner.padded_dim, [&](auto tile) {
    using Tile = decltype(tile);
    for_each_part(stream, planes, task, Tile::kRows, [&](const GradientTask &part, unsigned blocks) {
      stream.launch("gradient", cuda::gradient<Tile>, dim3(blocks, unsigned(splits)), Tile::kThreads,
                    Tile::kSharedBytes, part);
    });
  });
}

}  // namespace sm80
}  // namespace infonce::cuda

#include "cuda/kernels/sm90_gradient.cuh"

#include "cuda/launch/sm90.h"
#include "cuda/tensor_maps.h"

namespace infonce::cuda::sm90 {
namespace {

// Calls visit(tile) with the instance for these planes and this dimension.
template <class Visit> void with_tile(Planes planes, int64_t padded_dim, Visit &&visit) {
  if (planes == Planes::kMedium && padded_dim == 64) return visit(GradientTile<1, 64>());
  if (planes == Planes::kMedium && padded_dim == 128) return visit(GradientTile<1, 128>());
  if (planes == Planes::kMedium) return visit(GradientTile<1, 256>());
  if (padded_dim == 64) return visit(GradientTile<2, 64>());
  return visit(GradientTile<2, 128>());
}

}  // namespace

// Two planes of dimension 256 are for the panel: what they leave of shared memory is too small for tiles that keep the
// tensor cores busy.
bool gradient_in_registers(Planes planes, int64_t padded_dim) {
  if (planes == Planes::kMedium) return padded_dim == 64 || padded_dim == 128 || padded_dim == 256;
  return planes == Planes::kHigh && (padded_dim == 64 || padded_dim == 128);
}

RegisterBlocks gradient_blocks(Planes, int64_t) { return {GradientTile<1, 64>::kRows, 1}; }

void gradient(Stream &stream, Planes planes, const GradientTask &task, int splits) {
  const Tower &owner = task.weights.owner, &other = task.weights.other;
  with_tile(planes, owner.padded_dim, [&](auto tile) {
    using Tile = decltype(tile);
    const GradientMaps maps = {map_of_planes(owner, planes, Tile::kRows), map_of_planes(other, planes, Tile::kColumns),
                               map_of_vector(task.weights.other_weight, other.padded_rows, Tile::kColumns)};
    const dim3 grid(blocks_of(owner.rows, Tile::kRows), unsigned(splits));
    stream.launch("gradient", gradient<Tile>, grid, Tile::kThreads, sizeof(typename Tile::Shared), task, maps);
  });
}

}  // namespace infonce::cuda::sm90

#include "cuda/kernels/sm90_flash.cuh"

#include "cuda/launch/gradient_parts.h"
#include "cuda/launch/sm90.h"
#include "cuda/tensor_maps.h"

namespace infonce::cuda::sm90 {
namespace {

// Calls visit(tile) with the instance for these planes and this dimension.
template <class Visit> auto with_tile(Planes planes, int64_t padded_dim, Visit &&visit) {
  if (planes == Planes::kMedium && padded_dim == 64) return visit(GradientTile<1, 64>());
  if (planes == Planes::kMedium && padded_dim == 128) return visit(GradientTile<1, 128>());
  if (planes == Planes::kMedium && padded_dim == 192) return visit(GradientTile<1, 192>());
  if (planes == Planes::kMedium) return visit(GradientTile<1, 256>());
  if (padded_dim == 64) return visit(GradientTile<2, 64>());
  return visit(GradientTile<2, 128>());
}

template <class Tile, class Task>
void launch(Stream &stream, const char *name, void (*kernel)(Trace, Task, GradientMaps), Planes planes,
            const Task &task, int splits) {
  for_each_part(stream, planes, task, Tile::kRows, [&](const Task &part, unsigned blocks) {
    const Tower &owner = part.weights.owner, &other = part.weights.other;
    const GradientMaps maps = {map_of_planes(owner, planes, Tile::kRows), map_of_planes(other, planes, Tile::kColumns),
                               map_of_vector(part.weights.other_weight, other.padded_rows, Tile::kColumns)};
    stream.launch(name, kernel, dim3(blocks, unsigned(splits)), Tile::kThreads, sizeof(typename Tile::Shared), part,
                  maps);
  });
}

}  // namespace

// Two planes of dimension 256 are for the panel: what they leave of shared memory is too small for tiles that keep the
// tensor cores busy.
bool gradient_in_registers(Planes planes, int64_t padded_dim) {
  if (planes == Planes::kMedium) return padded_dim <= 256;
  return planes == Planes::kHigh && (padded_dim == 64 || padded_dim == 128);
}

RegisterBlocks gradient_blocks(Planes planes, int64_t padded_dim) {
  return with_tile(planes, padded_dim, [](auto tile) { return RegisterBlocks{tile.kRows, 1}; });
}

void gradient(Stream &stream, Planes planes, const GradientTask &task, int splits) {
  with_tile(planes, task.weights.owner.padded_dim, [&](auto tile) {
    launch<decltype(tile)>(stream, "gradient (sm90)", gradient<decltype(tile)>, planes, task, splits);
  });
}

void flash(Stream &stream, Planes planes, const FlashTask &task, int splits) {
  with_tile(planes, task.weights.owner.padded_dim, [&](auto tile) {
    using Tile = FlashTile<decltype(tile)>;
    launch<Tile>(stream, "flash (sm90)", flash<Tile>, planes, task, splits);
  });
}

}  // namespace infonce::cuda::sm90

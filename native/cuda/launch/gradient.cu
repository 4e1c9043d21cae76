#include "cuda/kernels/sm80_gradient.cuh"

#include "cuda/launch/launch.h"

namespace infonce::cuda {
namespace {

template <int kDim> bool fits(const Stream &stream) {
  return GradientTile<kDim>::kSharedBytes <= stream.shared_memory();
}

template <int kDim> void launch(Stream &stream, const GradientTask &task, int splits) {
  using Tile = GradientTile<kDim>;
  const dim3 grid(blocks_of(task.weights.owner.rows, Tile::kRows), unsigned(splits));
  stream.launch("gradient", gradient<kDim>, grid, Tile::kThreads, Tile::kSharedBytes, task);
}

template <int kDim> int blocks(Stream &stream) {
  using Tile = GradientTile<kDim>;
  return stream.resident_blocks(gradient<kDim>, Tile::kThreads, Tile::kSharedBytes);
}

}  // namespace

bool gradient_in_registers(const Stream &stream, int64_t padded_dim) {
  switch (padded_dim) {
    case 64:
      return fits<64>(stream);
    case 128:
      return fits<128>(stream);
    case 256:
      return fits<256>(stream);
    default:
      return false;
  }
}

int gradient_blocks(Stream &stream, int64_t padded_dim) {
  switch (padded_dim) {
    case 64:
      return blocks<64>(stream);
    case 128:
      return blocks<128>(stream);
    default:
      return blocks<256>(stream);
  }
}

void gradient(Stream &stream, const GradientTask &task, int splits) {
  switch (task.weights.owner.padded_dim) {
    case 64:
      return launch<64>(stream, task, splits);
    case 128:
      return launch<128>(stream, task, splits);
    default:
      return launch<256>(stream, task, splits);
  }
}

}  // namespace infonce::cuda

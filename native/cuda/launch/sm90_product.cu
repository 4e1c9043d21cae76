#include "cuda/kernels/sm90_product.cuh"

#include <algorithm>

#include "cuda/launch/sm90.h"
#include "cuda/tensor_maps.h"

namespace infonce::cuda::sm90 {
namespace {

Product product_of(Planes planes, const Tower &other, int64_t first_unit_row, float *accumulators) {
  Product product{};
  product.unit_rows = map_of_rows(other, planes, kSharedRows);
  product.all_unit_rows = int32_t(other.padded_rows);
  product.first_unit_row = int32_t(first_unit_row);
  product.accumulators = accumulators;
  return product;
}

template <class Tile> void launch(Stream &stream, const ProductTask &task) {
  const int32_t pairs = pairs_of_tiles<Tile>(task.straight, task.padded_dim) +
                        pairs_of_tiles<Tile>(task.transposed, task.padded_dim);
  const unsigned blocks = unsigned(kPair * std::min(pairs, stream.multiprocessors() / kPair));
  stream.launch("accumulate_panel", accumulate_panel<Tile>, blocks, Tile::kThreads, Tile::kSharedBytes, task);
}

// The tile that wastes least of the dimension; of equals, the widest.
template <int kPlanes> void launch(Stream &stream, const ProductTask &task) {
  if constexpr (kPlanes == 3) {
    launch<ProductTile<3, 128>>(stream, task);
  } else {
    const auto computed = [&](int dims) { return tiles_of(task.padded_dim, dims) * dims; };
    if (computed(256) <= std::min(computed(192), computed(128)))
      launch<ProductTile<kPlanes, 256>>(stream, task);
    else if (computed(192) <= computed(128))
      launch<ProductTile<kPlanes, 192>>(stream, task);
    else
      launch<ProductTile<kPlanes, 128>>(stream, task);
  }
}

}  // namespace

void accumulate_panel(Stream &stream, Planes planes, TileShape shape, const AccumulateTask &task, int tile_rows,
                      int splits) {
  ProductTask product{};
  product.panel =
      map_of_matrix(task.panel, int64_t(planes) * task.panel_rows, task.panel_columns, kDepthOfStage);
  product.panel_rows = task.panel_rows;
  product.padded_dim = int32_t(task.other.padded_dim);
  product.straight = product_of(planes, task.other, task.first_column,
                                task.accumulators + task.first_row * task.other.padded_dim);
  product.straight.rows = tile_rows * rows_of(shape);
  product.straight.depth = task.columns;
  product.straight.plane = task.owner_plane;
  product.straight.splits = splits;
  product.straight.add = task.add;
  switch (planes) {
    case Planes::kMedium:
      return launch<1>(stream, product);
    case Planes::kHigh:
      return launch<2>(stream, product);
    case Planes::kHighest:
      return launch<3>(stream, product);
  }
}

}  // namespace infonce::cuda::sm90

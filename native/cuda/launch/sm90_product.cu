#include "cuda/kernels/sm90_product.cuh"

#include <algorithm>

#include "cuda/launch/sm90.h"
#include "cuda/tensor_maps.h"

namespace infonce::cuda::sm90 {
namespace {

ProductSide side_of(Planes planes, const PanelSide &side, const PanelSide &other, int32_t splits) {
  ProductSide product{};
  product.unit_rows = map_of_rows(other.tower, planes, kSharedRows);
  product.all_unit_rows = int32_t(other.tower.padded_rows);
  product.first_unit_row = int32_t(other.first_row);
  product.wanted = side.accumulators != nullptr;
  if (product.wanted)
    product.sums = map_of_sums(side.accumulators, splits * side.tower.padded_rows, side.tower.padded_dim, kSumRows);
  product.rows_of_split = int32_t(side.tower.padded_rows);
  product.first_row = int32_t(side.first_row);
  product.add = side.add;
  return product;
}

template <class Tile> void launch(Stream &stream, const ProductTask &task) {
  const int32_t pairs = pairs_of_rows<Tile>(task) + pairs_of_columns<Tile>(task);
  const unsigned blocks = unsigned(kPair * std::min(pairs, stream.multiprocessors() / kPair));
  stream.launch("accumulate_panel (sm90)", accumulate_panel<Tile>, blocks, Tile::kThreads, Tile::kSharedBytes, task);
}

template <int kPlanes, int kDims, int... kMoreDims> void launch(Stream &stream, int dims, const ProductTask &task) {
  if constexpr (sizeof...(kMoreDims) > 0)
    if (dims != kDims) return launch<kPlanes, kMoreDims...>(stream, dims, task);
  launch<ProductTile<kPlanes, kDims>>(stream, task);
}

}  // namespace

// Wide tiles ask least of the second-level cache; narrow ones are more.
std::vector<int> dims_of_products(Planes planes) {
  if (planes == Planes::kHighest) return {128, 64};
  return {256, 192, 128};
}

void accumulate_panel(Stream &stream, Planes planes, const PanelProductTask &task) {
  ProductTask product{};
  product.panel = map_of_matrix(task.panel, int64_t(planes) * task.panel_rows, task.panel_columns, kDepthOfStage);
  product.panel_rows = task.panel_rows;
  product.rows = task.rows;
  product.columns = task.columns;
  product.padded_dim = int32_t(task.of_rows.tower.padded_dim);
  product.splits = task.splits;
  product.triangular = task.triangular;
  product.of_rows = side_of(planes, task.of_rows, task.of_columns, task.splits);
  product.of_columns = side_of(planes, task.of_columns, task.of_rows, task.splits);
  switch (planes) {
    case Planes::kMedium:
      return launch<1, 256, 192, 128>(stream, task.dims, product);
    case Planes::kHigh:
      return launch<2, 256, 192, 128>(stream, task.dims, product);
    case Planes::kHighest:
      return launch<3, 128, 64>(stream, task.dims, product);
  }
}

}  // namespace infonce::cuda::sm90

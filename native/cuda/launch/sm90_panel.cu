#include "cuda/kernels/sm90_panel.cuh"

#include <algorithm>

#include "cuda/launch/sm90.h"
#include "cuda/tensor_maps.h"

namespace infonce::cuda::sm90 {
namespace {

template <int kPlanes, TileShape kShape>
void launch(Stream &stream, Terms terms, const PanelTask &task, int tile_rows) {
  using Tile = LogitsTile<kPlanes, kShape>;
  constexpr size_t kSharedBytes = Tile::kPipelineBytes + sizeof(PanelShared<Tile>);
  static_assert(kSharedBytes <= kSharedBytesOfBlock, "it fits compute capability 9.0");
  constexpr int kTilesOfSquare = kRowMultiple / Tile::kColumns / Tile::kBlocks;  // of which panels consist
  TileOrder order = {tile_rows, (task.end_tile - task.first_tile) / Tile::kBlocks, 0, 1};
  order.blocks = Tile::kBlocks;
  if (task.triangular) order.step = kTilesOfSquare, order.strips_of_step = kRowMultiple / Tile::kRows;
  order.tiles_of_run = tiles_of(order.all(), std::max(stream.multiprocessors() / Tile::kBlocks, 1));
  const bool online = terms == Terms::kOnline, sigmoids = terms == Terms::kSigmoids;
  stream.launch(online     ? "write_panel (sm90, online)"
                : sigmoids ? "write_panel (sm90, sigmoids)"
                           : "write_panel (sm90)",
                online     ? write_panel<Tile, Terms::kOnline>
                : sigmoids ? write_panel<Tile, Terms::kSigmoids>
                           : write_panel<Tile, Terms::kExponentials>,
                dim3(unsigned(order.runs() * Tile::kBlocks)), Tile::kThreads, kSharedBytes, task, order,
                map_of_rows(task.weights.owner, Planes(kPlanes), Tile::kRowsOfCopy),
                map_of_columns(task.weights.other, Planes(kPlanes), Tile::kColumns));
}

}  // namespace

void write_panel(Stream &stream, Planes planes, TileShape shape, Terms terms, const PanelTask &task, int tile_rows) {
  switch (planes) {
    case Planes::kMedium:
      if (shape == TileShape::kKeptWarpgroups)
        return launch<1, TileShape::kKeptWarpgroups>(stream, terms, task, tile_rows);
      return launch<1, TileShape::kWarpgroups>(stream, terms, task, tile_rows);
    case Planes::kHigh:
      return launch<2, TileShape::kWarpgroups>(stream, terms, task, tile_rows);
    case Planes::kHighest:
      return launch<3, TileShape::kSmallWarpgroups>(stream, terms, task, tile_rows);
  }
}

}  // namespace infonce::cuda::sm90

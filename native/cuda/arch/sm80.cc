// Compute capability 8.0 and later: blocks of warps, two of them to a multiprocessor where they fit.
#include <algorithm>

#include "cuda/arch/architecture.h"
#include "cuda/launch/sm80.h"

namespace infonce::cuda {
namespace {

class Sm80 final : public Architecture {
 public:
  TileShape shape_of_tiles(const Hardware &hardware, Planes planes, Terms terms, int64_t padded_dim) const override {
    if (terms != Terms::kExponentials || planes == Planes::kHighest) return TileShape::kSmallWarps;
    if (planes == Planes::kMedium && padded_dim <= kMostKeptDim) return TileShape::kKeptRows;
    const bool tall = padded_dim >= kLeastTallDim && kTallSharedBytes <= hardware.shared_memory;
    return tall ? TileShape::kTall : TileShape::kSquare;
  }
  void statistics(Stream &stream, Planes planes, TileShape shape, Terms terms, const StatisticsTask &task, int runs,
                  int tile_rows) const override {
    sm80::statistics(stream, planes, shape, terms, task, runs, tile_rows);
  }
  bool gradient_in_registers(const Hardware &hardware, Planes planes, int64_t padded_dim) const override {
    return sm80::gradient_in_registers(hardware, planes, padded_dim);
  }
  RegisterBlocks gradient_blocks(const Hardware &hardware, Planes planes, int64_t padded_dim) const override {
    return sm80::gradient_blocks(hardware, planes, padded_dim);
  }
  void gradient(Stream &stream, Planes planes, const GradientTask &task, int splits) const override {
    sm80::gradient(stream, planes, task, splits);
  }
  bool has_flash() const override { return false; }
  bool panels_serve_columns() const override { return false; }
  PanelPlan plan_panel(const Hardware &hardware, Planes planes, TileShape shape, PanelUse use, int64_t rows,
                       int64_t columns, int64_t padded_dim) const override;
  void accumulate_through_panel(Stream &stream, const PanelWork &work) const override;

 private:
  void cut_into_runs(const Hardware &hardware, bool triangular, SweepPlan *plan) const override {
    constexpr int64_t kBlocksOfSweep = 4;  // for each multiprocessor, so that the last are soon done
    const int64_t all = int64_t(plan->tile_rows) * plan->tiles / (triangular ? 2 : 1);
    plan->tiles_per_run =
        int32_t(std::clamp<int64_t>(all / (kBlocksOfSweep * hardware.multiprocessors), 1, kMostTilesOfRun));
    plan->runs = tiles_of(plan->tiles, plan->tiles_per_run);
  }
};

PanelPlan Sm80::plan_panel(const Hardware &hardware, Planes planes, TileShape shape, PanelUse use, int64_t rows,
                           int64_t columns, int64_t padded_dim) const {
  constexpr int64_t kLeastPanelTiles = 2;  // below, the accumulators' way to memory and back outweighs the product
  PanelPlan plan{};
  plan.use = use;
  plan.tile_rows = tiles_of(rows, rows_of(shape));
  plan.tiles = tiles_of(columns, kTileColumns);
  const int64_t dim_tiles = tiles_of(padded_dim, kTileColumns);
  const int64_t slots = int64_t(hardware.multiprocessors) * sm80::accumulate_blocks(hardware, planes, shape);
  const int64_t bytes_of_tile = int64_t(planes) * rows_of(shape) * kTileColumns * int64_t(sizeof(__nv_bfloat16));
  const int64_t fitting = std::max(
      tiles_of_panel(hardware, planes, bytes_of_tile, rows_of(shape), kTileColumns, padded_dim), kLeastPanelTiles);
  // Rows that give every slot a block of the product, or a whole number of them.
  const int64_t rounds = std::max<int64_t>(1, dim_tiles * 8 / slots);
  const int64_t wanted = std::min(slots * rounds / dim_tiles, fitting / kLeastPanelTiles);
  plan.panel_rows = int32_t(std::clamp<int64_t>(wanted, 1, plan.tile_rows));
  plan.panel_tiles = int32_t(std::min<int64_t>(fitting / plan.panel_rows, plan.tiles));
  plan.splits = splits_for(plan.panel_rows * dim_tiles, slots, plan.panel_tiles / kLeastPanelTiles,
                           bytes_of_accumulators(rows, padded_dim));
  return plan;
}

void Sm80::accumulate_through_panel(Stream &stream, const PanelWork &work) const {
  const PanelPlan &plan = work.plan;
  const Tower &owner = work.weights.owner, &other = work.weights.other;
  const int32_t rows_of_tile = rows_of(work.shape);
  PanelTask write = work.write();
  AccumulateTask multiply{};
  multiply.panel = work.panel;
  multiply.panel_rows = write.panel_rows;
  multiply.panel_columns = write.panel_columns;
  multiply.other = other;
  multiply.accumulators = work.of_rows;
  multiply.owner_plane = owner.plane_size();
  for (int32_t row = 0; row < plan.tile_rows; row += plan.panel_rows) {
    const int32_t rows = std::min(plan.panel_rows, plan.tile_rows - row);
    for (int32_t tile = 0; tile < plan.tiles; tile += plan.panel_tiles) {
      const int32_t columns = std::min(plan.panel_tiles, plan.tiles - tile);
      write.first_tile_row = row;
      write.first_tile = tile;
      write.end_tile = tile + columns;
      write.tiles_per_run = std::clamp(rows * columns / (4 * stream.multiprocessors()), 1, columns);
      sm80::write_panel(stream, work.planes, work.shape, work.terms, write, tiles_of(columns, write.tiles_per_run),
                        rows);
      multiply.columns = columns * kTileColumns;
      multiply.first_row = int64_t(row) * rows_of_tile;
      multiply.first_column = int64_t(tile) * kTileColumns;
      multiply.add = tile > 0;
      sm80::accumulate_panel(stream, work.planes, work.shape, multiply, rows, plan.splits);
    }
  }
}

}  // namespace

const Architecture &Architecture::sm80() {
  static const Sm80 sm80;
  return sm80;
}

}  // namespace infonce::cuda

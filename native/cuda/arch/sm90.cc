// Compute capability 9.0: blocks of warpgroups that stay, and panels that serve the rows and the columns of a block.
#include <algorithm>

#include "cuda/arch/architecture.h"
#include "cuda/launch/sm90.h"

namespace infonce::cuda {
namespace {

constexpr int64_t kBlock = kRowMultiple;  // panels consist of squares of so many rows

class Sm90 final : public Architecture {
 public:
  TileShape shape_of_tiles(const Hardware &, Planes planes, Terms, int64_t padded_dim) const override {
    if (planes == Planes::kHighest) return TileShape::kSmallWarpgroups;
    const bool keeps = planes == Planes::kMedium && padded_dim <= kMostDimOfKeptWarpgroups;
    return keeps ? TileShape::kKeptWarpgroups : TileShape::kWarpgroups;
  }
  void statistics(Stream &stream, Planes planes, TileShape shape, Terms terms, const StatisticsTask &task, int,
                  int) const override {
    sm90::statistics(stream, planes, shape, terms, task);
  }
  bool gradient_in_registers(const Hardware &, Planes planes, int64_t padded_dim) const override {
    return sm90::gradient_in_registers(planes, padded_dim);
  }
  RegisterBlocks gradient_blocks(const Hardware &, Planes planes, int64_t padded_dim) const override {
    return sm90::gradient_blocks(planes, padded_dim);
  }
  void gradient(Stream &stream, Planes planes, const GradientTask &task, int splits) const override {
    sm90::gradient(stream, planes, task, splits);
  }
  bool has_flash() const override { return true; }
  bool panels_serve_columns() const override { return true; }
  PanelPlan plan_panel(const Hardware &hardware, Planes planes, TileShape shape, PanelUse use, int64_t rows,
                       int64_t columns, int64_t padded_dim) const override;
  void accumulate_through_panel(Stream &stream, const PanelWork &work) const override;

 private:
  // As many runs for each block or cluster, of no more tiles than a run may have.
  void cut_into_runs(const Hardware &hardware, bool, SweepPlan *plan) const override {
    plan->stays = true;
    plan->tiles_per_run = 1;
    const int64_t tiles = plan->order(0).all(), blocks = std::max(hardware.multiprocessors / plan->blocks, 1);
    const int64_t rounds = (tiles + kMostTilesOfRun * blocks - 1) / (kMostTilesOfRun * blocks);
    plan->tiles_per_run = int32_t((tiles + rounds * blocks - 1) / (rounds * blocks));
    plan->runs = plan->order(0).most_sums();
  }
};

// Clocks of a multiprocessor of compute capability 9.0, by what the tensor cores take and what the second-level cache
// gives. Estimates: they weigh panels that are large, so that sums go to memory seldom, against such that leave no
// multiprocessor idle.
struct PanelClocks {
  static constexpr int64_t kProductsOfClock = 2048, kBytesOfClock = 23, kKernels = 5000;  // their starts and ends

  int64_t planes, chunks, padded_dim, multiprocessors;

  int64_t multiply(int64_t products) const {  // of this many numbers
    return planes * (planes + 1) / 2 * products / kProductsOfClock;
  }
  // `blocks` of 256 x 256 weights.
  int64_t write(int64_t blocks, int64_t tiles_of_block) const {
    const int64_t products_of_tile = kBlock * kBlock / tiles_of_block * kDimMultiple * chunks;
    return tiles_of(blocks * tiles_of_block, multiprocessors) * multiply(products_of_tile);
  }
  // Sums of `blocks` of 256 rows, each over `depth` blocks.
  int64_t sum(int64_t blocks, int64_t depth, int64_t splits, int dims) const {
    constexpr int64_t kDepth = 64, kRows = 128;
    const int64_t pairs = std::max<int64_t>(multiprocessors / 2, 1);
    const int64_t tiles = tiles_of(blocks * splits * tiles_of(padded_dim, dims), pairs);
    const int64_t loads = planes * (kRows + dims / 2) * kDepth * int64_t(sizeof(__nv_bfloat16));
    const int64_t stage = std::max(multiply(kRows * dims * kDepth), loads / kBytesOfClock);
    const int64_t add_to_memory = kRows * dims * int64_t(sizeof(float)) / kBytesOfClock;  // by the cache itself
    return tiles * (depth * (kBlock / kDepth) * stage / splits + add_to_memory);
  }
};

// Panels of one tower are square; those below the diagonal are not needed.
PanelPlan Sm90::plan_panel(const Hardware &hardware, Planes planes, TileShape shape, PanelUse use, int64_t rows,
                           int64_t columns, int64_t padded_dim) const {
  const bool triangular = use == PanelUse::kTriangle, both = !triangular && use != PanelUse::kRows;
  const PanelClocks clocks = {int64_t(planes), padded_dim / kDimMultiple, padded_dim, hardware.multiprocessors};
  const int64_t all_rows = tiles_of(rows, kBlock), all_columns = tiles_of(columns, kBlock);
  const int64_t bytes_of_block = int64_t(planes) * kBlock * kBlock * int64_t(sizeof(__nv_bfloat16));
  const int64_t fitting =
      std::max<int64_t>(1, tiles_of_panel(hardware, planes, bytes_of_block, kBlock, kBlock, padded_dim));
  const int64_t deepest = planes == Planes::kHigh ? kMostColumnsOfHigh / kBlock : fitting;
  const int64_t fitting_splits =
      kSplitBytes / bytes_of_accumulators((all_rows + (both ? all_columns : 0)) * kBlock, padded_dim);
  const int64_t tiles_of_block = kBlock * kBlock / (rows_of(shape) * kTileColumns);
  const std::vector<int> all_dims = sm90::dims_of_products(planes);
  PanelPlan plan{};
  plan.use = use;
  plan.tile_rows = int32_t(all_rows * kBlock / rows_of(shape));
  plan.tiles = int32_t(all_columns * kBlock / kTileColumns);
  int64_t least = INT64_MAX;
  const auto consider = [&](int64_t r, int64_t c, int64_t depth, int64_t splits, int dims) {
    const auto panel = [&](int64_t blocks, int64_t outputs) {
      return PanelClocks::kKernels + clocks.write(blocks, tiles_of_block) + clocks.sum(outputs, depth, splits, dims);
    };
    const int64_t row_panels = tiles_of(all_rows, r), column_panels = tiles_of(all_columns, c);
    const int64_t all =
        triangular ? row_panels * panel(r * (r + 1) / 2, r) + row_panels * (row_panels - 1) / 2 * panel(r * c, r + c)
                   : row_panels * column_panels * panel(r * c, both ? r + c : r);
    if (all >= least) return;
    least = all;
    plan.panel_rows = int32_t(r * kBlock / rows_of(shape));
    plan.panel_tiles = int32_t(c * kBlock / kTileColumns);
    plan.splits = int32_t(splits);
    plan.dims = dims;
  };
  // Panels of equal sizes, as nearly as can be.
  const auto is_even = [](int64_t size, int64_t all) { return size == tiles_of(all, tiles_of(all, size)); };
  for (int64_t r = 1; r <= std::min(all_rows, fitting); ++r) {
    if (!is_even(r, all_rows)) continue;
    for (int64_t c = 1; c <= std::min(all_columns, fitting / r); ++c) {
      const int64_t depth = both ? std::max(r, c) : c;
      if (!is_even(c, all_columns) || depth > deepest || (triangular && c != r)) continue;
      const int64_t most_splits = std::max<int64_t>(1, std::min(fitting_splits, both ? std::min(r, c) : c));
      for (int64_t splits = 1; splits <= most_splits; ++splits)
        for (const int dims : all_dims) consider(r, c, depth, splits, dims);
    }
  }
  // The width of tiles does not change what is added to what.
  if (use == PanelUse::kRowsOfBoth) {
    const int64_t r = plan.panel_rows * rows_of(shape) / kBlock, c = plan.panel_tiles * kTileColumns / kBlock;
    const auto clocks_of = [&](int dims) { return clocks.sum(r, c, plan.splits, dims); };
    plan.dims =
        *std::min_element(all_dims.begin(), all_dims.end(), [&](int a, int b) { return clocks_of(a) < clocks_of(b); });
  }
  return plan;
}

// A panel serves its rows and, transposed, its columns; of one tower none is below the diagonal.
void Sm90::accumulate_through_panel(Stream &stream, const PanelWork &work) const {
  const PanelPlan &plan = work.plan;
  const bool triangular = plan.use == PanelUse::kTriangle;
  float *const of_columns = triangular                              ? work.of_rows
                            : plan.use == PanelUse::kRowsAndColumns ? work.of_columns
                                                                    : nullptr;
  const int32_t rows_of_tile = rows_of(work.shape);
  PanelTask write = work.write();
  PanelProductTask multiply{};
  multiply.panel = work.panel;
  multiply.panel_rows = write.panel_rows;
  multiply.panel_columns = write.panel_columns;
  multiply.splits = plan.splits;
  multiply.dims = plan.dims;
  for (int32_t tile_row = 0; tile_row < plan.tile_rows; tile_row += plan.panel_rows) {
    const int32_t tile_rows = std::min(plan.panel_rows, plan.tile_rows - tile_row);
    const int64_t row = int64_t(tile_row) * rows_of_tile;
    for (int32_t tile = triangular ? int32_t(row / kTileColumns) : 0; tile < plan.tiles; tile += plan.panel_tiles) {
      const int32_t tiles = std::min(plan.panel_tiles, plan.tiles - tile);
      const int64_t column = int64_t(tile) * kTileColumns;
      const bool on_diagonal = triangular && row == column;
      write.first_tile_row = tile_row;
      write.first_tile = tile;
      write.end_tile = tile + tiles;
      write.triangular = on_diagonal;
      sm90::write_panel(stream, work.planes, work.shape, work.terms, write, tile_rows);
      multiply.rows = tile_rows * rows_of_tile;
      multiply.columns = tiles * kTileColumns;
      multiply.triangular = on_diagonal;
      // Rows of one tower were columns first, but for those of the first panels.
      multiply.of_rows = {work.weights.owner, row, work.of_rows, tile > 0};
      multiply.of_columns = {work.weights.other, column, on_diagonal ? nullptr : of_columns, tile_row > 0};
      sm90::accumulate_panel(stream, work.planes, multiply);
    }
  }
}

}  // namespace

const Architecture &Architecture::sm90() {
  static const Sm90 sm90;
  return sm90;
}

}  // namespace infonce::cuda

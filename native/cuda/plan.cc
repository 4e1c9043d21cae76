#include "cuda/plan.h"

#include <algorithm>

#include "cuda/launch/sm90.h"

namespace infonce::cuda {
namespace {

constexpr int64_t kPartialBytes = int64_t(128) << 20;  // of the column statistics of one launch
constexpr int64_t kMostTilesOfRun = 32;                // a float32 sum over no more than 4096 columns
constexpr int64_t kMostTileRows = 32768;               // a grid has at most 65,535 blocks that way
constexpr int64_t kBlocksOfSweep = 4;                  // for each multiprocessor, so that the last are soon done
constexpr int64_t kLeastPanelTiles = 2;  // below, the accumulators' way to memory and back outweighs the product
constexpr int64_t kSplitBytes = int64_t(64) << 20;  // of accumulators, so many splits are free

// Beside what else the second-level cache has to hold. Of a cache that is too small for any panel the size matters
// little.
int64_t panel_bytes(const Stream &stream) {
  constexpr int64_t kLeast = int64_t(4) << 20;
  return std::max(kLeast, int64_t(stream.cache()) * 12 / 25);
}

// So many tiles of a panel, no more than one launch may compute.
int64_t tiles_of_panel(const Stream &stream, Planes planes, int64_t bytes_of_tile, int64_t rows_of_tile,
                       int64_t columns_of_tile, int64_t padded_dim) {
  const double tiles = double(panel_bytes(stream) / bytes_of_tile);
  const Operations operations = operations_of(planes, int64_t(tiles) * rows_of_tile, columns_of_tile, padded_dim);
  return int64_t(tiles * stream.share_of_launch(operations));
}

// The fewest splits that keep `slots` blocks busy, of work that can be split into `parts`.
int32_t splits_for(int64_t blocks, int64_t slots, int64_t parts, int64_t bytes_of_split) {
  constexpr double kEnough = 0.9;
  const int64_t most = std::max<int64_t>(1, std::min(parts, kSplitBytes / bytes_of_split));
  int64_t best = 1;
  double most_busy = 0;
  for (int64_t splits = 1; splits <= most && most_busy < kEnough; ++splits) {
    const int64_t all = blocks * splits, rounds = (all + slots - 1) / slots;
    const double busy = double(all) / double(rounds * slots);
    if (busy > most_busy) most_busy = busy, best = splits;
  }
  return int32_t(best);
}

// Blocks that stay have as many runs each, of no more tiles than a run may have.
int32_t tiles_of_run(int64_t tiles, int64_t blocks) {
  const int64_t rounds = (tiles + kMostTilesOfRun * blocks - 1) / (kMostTilesOfRun * blocks);
  return int32_t((tiles + rounds * blocks - 1) / (rounds * blocks));
}

int64_t bytes_of_accumulators(int64_t rows, int64_t padded_dim) { return rows * padded_dim * int64_t(sizeof(float)); }

}  // namespace

SweepPlan plan_sweep(const Stream &stream, Planes planes, TileShape shape, int64_t rows, int64_t columns,
                     int64_t padded_dim, bool triangular) {
  SweepPlan plan{};
  plan.tile_rows = tiles_of(rows, rows_of(shape));
  plan.tiles = tiles_of(columns, kTileColumns);
  plan.step = triangular ? rows_of(shape) / kTileColumns : 0;
  const int64_t sums_of_tile_row = rows_of(shape) / rows_of_column_sums(shape);
  const int64_t bytes_of_tile_row =
      sums_of_tile_row * plan.tiles * kTileColumns * int64_t(sizeof(float) + sizeof(int32_t));
  const double in_time = double(plan.tile_rows) * stream.share_of_launch(operations_of(planes, rows, columns, padded_dim));
  const int64_t most = std::min({int64_t(plan.tile_rows), kMostTileRows, std::max<int64_t>(1, int64_t(in_time))});
  plan.strip = int32_t(std::clamp<int64_t>(kPartialBytes / bytes_of_tile_row, 1, most));
  if (is_of_warpgroups(shape)) {
    plan.tiles_per_run = 1;
    plan.tiles_per_run = tiles_of_run(plan.order(0).all(), stream.multiprocessors());
    plan.runs = plan.order(0).most_runs_of_strip();
  } else {
    const int64_t all = int64_t(plan.tile_rows) * plan.tiles / (triangular ? 2 : 1);
    plan.tiles_per_run =
        int32_t(std::clamp<int64_t>(all / (kBlocksOfSweep * stream.multiprocessors()), 1, kMostTilesOfRun));
    plan.runs = tiles_of(plan.tiles, plan.tiles_per_run);
  }
  return plan;
}

PanelPlan plan_panel(Stream &stream, Planes planes, TileShape shape, int64_t owner_rows, int64_t other_rows,
                     int64_t padded_dim) {
  PanelPlan plan{};
  plan.tile_rows = tiles_of(owner_rows, rows_of(shape));
  plan.tiles = tiles_of(other_rows, kTileColumns);
  const int64_t dim_tiles = tiles_of(padded_dim, kTileColumns);
  const int64_t slots = int64_t(stream.multiprocessors()) * accumulate_blocks(stream, planes, shape);
  const int64_t bytes_of_tile = int64_t(planes) * rows_of(shape) * kTileColumns * int64_t(sizeof(__nv_bfloat16));
  const int64_t fitting = std::max(
      tiles_of_panel(stream, planes, bytes_of_tile, rows_of(shape), kTileColumns, padded_dim), kLeastPanelTiles);
  // Rows that give every slot a block of the product, or a whole number of them.
  const int64_t rounds = std::max<int64_t>(1, dim_tiles * 8 / slots);
  const int64_t wanted = std::min(slots * rounds / dim_tiles, fitting / kLeastPanelTiles);
  plan.panel_rows = int32_t(std::clamp<int64_t>(wanted, 1, plan.tile_rows));
  plan.panel_tiles = int32_t(std::min<int64_t>(fitting / plan.panel_rows, plan.tiles));
  plan.splits = splits_for(plan.panel_rows * dim_tiles, slots, plan.panel_tiles / kLeastPanelTiles,
                           bytes_of_accumulators(owner_rows, padded_dim));
  return plan;
}

namespace {

// Clocks of a multiprocessor of compute capability 9.0, by what the tensor cores take and what the second-level cache
// gives. Estimates: they weigh panels that are large, so that sums go to memory seldom, against such that leave no
// multiprocessor idle.
struct PanelClocks {
  static constexpr int64_t kProductsOfClock = 2048, kBytesOfClock = 23, kKernels = 5000;  // their starts and ends
  static constexpr int64_t kBlock = kRowMultiple;

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
    const int64_t add_to_memory = kRows * dims * 2 * int64_t(sizeof(float)) / kBytesOfClock;
    return tiles * (depth * (kBlock / kDepth) * stage / splits + add_to_memory);
  }
};

}  // namespace

PanelPlan plan_panel(const Stream &stream, Planes planes, TileShape shape, PanelUse use, int64_t rows, int64_t columns,
                     int64_t padded_dim) {
  constexpr int64_t kBlock = PanelClocks::kBlock;
  const bool triangular = use == PanelUse::kTriangle, both = !triangular && use != PanelUse::kRows;
  const PanelClocks clocks = {int64_t(planes), padded_dim / kDimMultiple, padded_dim, stream.multiprocessors()};
  const int64_t all_rows = tiles_of(rows, kBlock), all_columns = tiles_of(columns, kBlock);
  const int64_t bytes_of_block = int64_t(planes) * kBlock * kBlock * int64_t(sizeof(__nv_bfloat16));
  const int64_t fitting =
      std::max<int64_t>(1, tiles_of_panel(stream, planes, bytes_of_block, kBlock, kBlock, padded_dim));
  const int64_t deepest = planes == Planes::kHigh ? kMostColumnsOfHigh / kBlock : fitting;
  const int64_t fitting_splits =
      kSplitBytes / bytes_of_accumulators((all_rows + (both ? all_columns : 0)) * kBlock, padded_dim);
  const int64_t tiles_of_block = kBlock * kBlock / (rows_of(shape) * kTileColumns);
  const std::vector<int> all_dims = sm90::dims_of_products(planes);
  PanelPlan plan{};
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
    plan.dims = *std::min_element(all_dims.begin(), all_dims.end(),
                                  [&](int a, int b) { return clocks_of(a) < clocks_of(b); });
  }
  return plan;
}

int32_t plan_splits(Stream &stream, Planes planes, int64_t owner_rows, int64_t other_rows, int64_t padded_dim,
                    bool sm90) {
  constexpr int64_t kLeastColumns = 512;  // of a split: each part is written and read once more
  const RegisterBlocks of = gradient_blocks(stream, planes, padded_dim, sm90);
  const int64_t slots = int64_t(stream.multiprocessors()) * of.resident;
  const int32_t busy = splits_for(tiles_of(owner_rows, of.rows), slots, other_rows / kLeastColumns,
                                  bytes_of_accumulators(owner_rows, padded_dim));
  return planes == Planes::kHigh ? std::max(busy, tiles_of(other_rows, kMostColumnsOfHigh)) : busy;
}

}  // namespace infonce::cuda

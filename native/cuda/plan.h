// How the work of a call is cut into launches and blocks, as far as all generations of kernels share it.
#pragma once

#include <algorithm>

#include "cuda/launch/launch.h"

namespace infonce::cuda {

// The statistics of one tower's rows over another's.
struct SweepPlan {
  int32_t tile_rows, tiles;  // of the rows, of the columns
  int32_t strip;             // tile rows of a launch
  int32_t tiles_per_run;     // tiles of a block or, where it is of a cluster, groups of them
  int32_t runs;              // the most sums that they leave in a tile row
  int32_t step;              // tiles by which a tile row is shorter than the one above it
  bool stays;                // blocks take one run after another, in the order below
  int32_t blocks;            // of a cluster

  // Of the launch that begins with this tile row.
  TileOrder order(int32_t first_tile_row) const {
    if (!stays) return {};
    TileOrder order = {std::min(tile_rows - first_tile_row, strip), tiles_of(tiles - first_tile_row * step, blocks), 0,
                       tiles_per_run};
    order.blocks = blocks;
    if (step > 0) order.step = std::max(step / blocks, 1), order.strips_of_step = std::max(blocks / step, 1);
    return order;
  }
};
constexpr int64_t kMostTilesOfRun = 32;  // a float32 sum over no more than 4096 columns

// How much of a block of logits a panel of weights serves.
enum class PanelUse {
  kRows,
  kRowsAndColumns,
  kRowsOfBoth,  // only the rows, with the bits that they have where the columns are wanted too
  kTriangle,    // the rows and the columns of one tower
};

// A gradient through a panel of weights.
struct PanelPlan {
  PanelUse use;
  int32_t tile_rows, tiles;  // of the rows, of the columns
  int32_t panel_rows;        // tile rows of the panel
  int32_t panel_tiles;
  int32_t splits;  // of the panel's columns, in the product; of either's sums
  int dims;        // of a tile of the product, for compute capability 9.0

  int64_t elements(TileShape shape) const { return int64_t(panel_rows) * rows_of(shape) * panel_tiles * kTileColumns; }
};

// Candidates over which the tensor cores may sum a gradient of level 'high'. They truncate: three products of 16 each
// lose up to 2^-24 of the sum, 9e-5 in all.
constexpr int64_t kMostColumnsOfHigh = 8192;

// Accumulators of one split, and how much of them there may be, so that splits cost nothing.
constexpr int64_t kSplitBytes = int64_t(64) << 20;
inline int64_t bytes_of_accumulators(int64_t rows, int64_t padded_dim) {
  return rows * padded_dim * int64_t(sizeof(float));
}

// The fewest splits that keep `slots` blocks busy, of work that can be split into `parts`.
int32_t splits_for(int64_t blocks, int64_t slots, int64_t parts, int64_t bytes_of_split);

// So many tiles of a panel fit the second-level cache, no more than one launch may compute.
int64_t tiles_of_panel(const Hardware &hardware, Planes planes, int64_t bytes_of_tile, int64_t rows_of_tile,
                       int64_t columns_of_tile, int64_t padded_dim);

}  // namespace infonce::cuda

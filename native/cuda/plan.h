// How the work of a call is cut into launches and blocks.
#pragma once

#include <algorithm>

#include "cuda/launch/launch.h"

namespace infonce::cuda {

// The statistics of one tower's rows over another's.
struct SweepPlan {
  int32_t tile_rows, tiles;  // of the rows, of the columns
  int32_t strip;             // tile rows of a launch
  int32_t tiles_per_run;     // tiles of a block
  int32_t runs;              // the most in a tile row
  int32_t step;              // tiles by which a tile row is shorter than the one above it

  // Of the launch that begins with this tile row, for blocks that stay.
  TileOrder order(int32_t first_tile_row) const {
    return {std::min(tile_rows - first_tile_row, strip), tiles - first_tile_row * step, step, tiles_per_run};
  }
};
SweepPlan plan_sweep(const Stream &stream, Planes planes, TileShape shape, int64_t rows, int64_t columns,
                     int64_t padded_dim, bool triangular);

// The gradient of one tower's rows through a panel of weights.
struct PanelPlan {
  int32_t tile_rows, tiles;  // of the owner, of the other
  int32_t panel_rows;        // tile rows of the panel
  int32_t panel_tiles;
  int32_t splits;  // of the panel's columns, in the product; of either's sums
  int dims;        // of a tile of the product, for compute capability 9.0

  int64_t elements(TileShape shape) const { return int64_t(panel_rows) * rows_of(shape) * panel_tiles * kTileColumns; }
};
PanelPlan plan_panel(Stream &stream, Planes planes, TileShape shape, int64_t owner_rows, int64_t other_rows,
                     int64_t padded_dim);

// The same for compute capability 9.0.
enum class PanelUse {
  kRows,
  kRowsAndColumns,
  kRowsOfBoth,  // only the rows, with the bits that they have where the columns are wanted too
  kTriangle,    // the rows and the columns of one tower: panels are square, those below the diagonal are not needed
};
PanelPlan plan_panel(const Stream &stream, Planes planes, TileShape shape, PanelUse use, int64_t rows, int64_t columns,
                     int64_t padded_dim);

// Splits of the columns for the gradient in registers.
int32_t plan_splits(Stream &stream, Planes planes, int64_t owner_rows, int64_t other_rows, int64_t padded_dim,
                    bool sm90);

// Candidates over which the tensor cores may sum a gradient of level 'high'. They truncate: three products of 16 each
// lose up to 2^-24 of the sum, 9e-5 in all.
constexpr int64_t kMostColumnsOfHigh = 8192;

}  // namespace infonce::cuda

#include "cuda/arch/architecture.h"

namespace infonce::cuda {

SweepPlan Architecture::plan_sweep(const Hardware &hardware, Planes planes, TileShape shape, int64_t rows,
                                   int64_t columns, int64_t padded_dim, bool triangular) const {
  constexpr int64_t kPartialBytes = int64_t(128) << 20;  // of the column statistics of one launch
  constexpr int64_t kMostTileRows = 32768;               // a grid has at most 65,535 blocks that way
  SweepPlan plan{};
  plan.tile_rows = tiles_of(rows, rows_of(shape));
  plan.tiles = tiles_of(columns, kTileColumns);
  plan.step = triangular ? rows_of(shape) / kTileColumns : 0;
  const int64_t sums_of_tile_row = rows_of(shape) / rows_of_column_sums(shape);
  const int64_t bytes_of_tile_row =
      sums_of_tile_row * plan.tiles * kTileColumns * int64_t(sizeof(float) + sizeof(int32_t));
  const double in_time =
      double(plan.tile_rows) * hardware.share_of_launch(operations_of(planes, rows, columns, padded_dim));
  const int64_t most = std::min({int64_t(plan.tile_rows), kMostTileRows, std::max<int64_t>(1, int64_t(in_time))});
  plan.strip = int32_t(std::clamp<int64_t>(kPartialBytes / bytes_of_tile_row, 1, most));
  plan.blocks = blocks_of_cluster(shape);
  // Padding is for whole groups of a cluster's tiles, from the first row of a launch on.
  const int32_t rows_together = std::max(plan.blocks * kTileColumns / rows_of(shape), 1);
  if (plan.strip < plan.tile_rows)
    plan.strip = std::min(std::max(plan.strip / rows_together, 1) * rows_together, plan.tile_rows);
  cut_into_runs(hardware, triangular, &plan);
  return plan;
}

int32_t Architecture::plan_splits(const Hardware &hardware, Planes planes, int64_t owner_rows, int64_t other_rows,
                                  int64_t padded_dim) const {
  constexpr int64_t kLeastColumns = 512;  // of a split: each part is written and read once more
  const RegisterBlocks of = gradient_blocks(hardware, planes, padded_dim);
  const int64_t slots = int64_t(hardware.multiprocessors) * of.resident;
  const int32_t busy = splits_for(tiles_of(owner_rows, of.rows), slots, other_rows / kLeastColumns,
                                  bytes_of_accumulators(owner_rows, padded_dim));
  return planes == Planes::kHigh ? std::max(busy, tiles_of(other_rows, kMostColumnsOfHigh)) : busy;
}

}  // namespace infonce::cuda

// The gradients of a call: what is accumulated for each tower, in registers, through panels of weights or in float64,
// and then finished.
#include <algorithm>

#include "cuda/call.h"
#include "cuda/launch/sm90.h"
#include "cuda/launch/wide.h"

namespace infonce::cuda {

void Call::compute_gradients() {
  const Direction *columns = roles_.both_directions ? &columns_ : nullptr;
  if (one_tower()) return accumulate({kAnchors, kAnchors, &rows_, &rows_, true, gradient_of(kAnchors)});
  const Side anchors = {kAnchors, candidates(), &rows_, columns, true, gradient_of(kAnchors)};
  const Side others = {candidates(), kAnchors, columns, &rows_, true, gradient_of(candidates())};
  if (one_panel_for_both()) {
    accumulate_both(anchors, others);
  } else {
    accumulate(anchors);
    if (wants_gradient_of(candidates())) accumulate(others);
  }
  if (candidates() != kKeys) accumulate({kKeys, kAnchors, nullptr, nullptr, false, gradient_of(kKeys)});
}

WeightsOf Call::weights_of(const Side &side) const {
  WeightsOf weights{};
  weights.owner = towers_[side.owner];
  weights.other = towers_[side.other];
  weights.pairs = pairs_of(side.other);
  weights.owner_weight = side.owner_direction ? side.owner_direction->weight : no_weight_;
  weights.other_weight = side.other_direction ? side.other_direction->weight : no_weight_;
  weights.owner_log2_sum = side.owner_direction ? side.owner_direction->log2_sum : no_log2_sum_;
  weights.other_log2_sum = side.other_direction ? side.other_direction->log2_sum : no_log2_sum_;
  weights.owner_target = rows_.target;
  weights.other_target = side.other == kNegatives ? no_weight_ : rows_.target;
  weights.exponent = exponent_;
  return weights;
}

// Over the other tower and, if there is one, the memory, each in parts of its own.
void Call::accumulate(const Side &side) {
  if (flash_ && side.owner == kAnchors) {
    const int32_t splits = register_splits(kAnchors, candidates());
    return finish(side, flash_accumulators_, splits, splits, accumulators_, rows_.weight);
  }
  const int64_t plane = towers_[side.owner].plane_size();
  const auto finish_over = [&](auto *accumulators, auto &&add) {
    const int32_t splits = add(side, accumulators);
    int32_t all = splits;
    const Side memory = {kAnchors, kNegatives, &rows_, nullptr, true, side.gradient};
    if (has_memory()) all += add(memory, accumulators + all * plane);
    finish(side, accumulators, splits, all, accumulators);
  };
  if (narrow_)
    finish_over(accumulators_, [&](const Side &part, float *to) { return accumulate_narrowly(part, to); });
  else
    finish_over(wide_accumulators_, [&](const Side &part, double *to) { return accumulate_widely(part, to); });
}

// With weights that are written once.
void Call::accumulate_both(const Side &side, const Side &other) {
  const int32_t splits = accumulate_through_panel_of_warpgroups(side, accumulators_);
  finish(side, accumulators_, splits, splits, accumulators_);
  finish(other, other_accumulators_, splits, splits, other_accumulators_);
}

// These return into how many parts.
int32_t Call::accumulate_widely(const Side &side, double *accumulators) {
  if (!side.in_matrix) return 0;
  const Pairs &elsewhere = pairs_of(one_tower() && side.other == kAnchors ? kNegatives : kAnchors);
  wide_gradient(stream(), towers_[side.owner], towers_[side.other], pairs_of(side.other),
                has_memory() ? elsewhere.classes : nullptr, problem_.scale, side.owner_direction, side.other_direction,
                wide_panel_, wide_panel_elements(), accumulators);
  return 1;
}

int32_t Call::accumulate_narrowly(const Side &side, float *accumulators) {
  if (!side.in_matrix) return 0;
  if (!in_registers_ && is_of_warpgroups(shape_)) return accumulate_through_panel_of_warpgroups(side, accumulators);
  if (!in_registers_) return accumulate_through_panel(side, accumulators);
  const int32_t splits = register_splits(side.owner, side.other);
  gradient(stream(), planes_, {weights_of(side), accumulators}, splits, sm90_);
  return splits;
}

int32_t Call::accumulate_through_panel(const Side &side, float *accumulators) {
  const PanelPlan plan = panel_plan(side.owner, side.other);
  const int32_t rows_of_tile = rows_of(shape_);
  PanelTask write{};
  write.weights = weights_of(side);
  write.panel = panel_;
  write.panel_rows = plan.panel_rows * rows_of_tile;
  write.panel_columns = plan.panel_tiles * kTileColumns;
  AccumulateTask multiply{};
  multiply.panel = panel_;
  multiply.panel_rows = write.panel_rows;
  multiply.panel_columns = write.panel_columns;
  multiply.other = towers_[side.other];
  multiply.accumulators = accumulators;
  multiply.owner_plane = towers_[side.owner].plane_size();
  for (int32_t row = 0; row < plan.tile_rows; row += plan.panel_rows) {
    const int32_t rows = std::min(plan.panel_rows, plan.tile_rows - row);
    for (int32_t tile = 0; tile < plan.tiles; tile += plan.panel_tiles) {
      const int32_t columns = std::min(plan.panel_tiles, plan.tiles - tile);
      write.first_tile_row = row;
      write.first_tile = tile;
      write.end_tile = tile + columns;
      write.tiles_per_run = std::clamp(rows * columns / (4 * stream().multiprocessors()), 1, columns);
      write_panel(stream(), planes_, shape_, online_, write, tiles_of(columns, write.tiles_per_run), rows);
      multiply.columns = columns * kTileColumns;
      multiply.first_row = int64_t(row) * rows_of_tile;
      multiply.first_column = int64_t(tile) * kTileColumns;
      multiply.add = tile > 0;
      accumulate_panel(stream(), planes_, shape_, multiply, rows, plan.splits);
    }
  }
  return plan.splits;
}

// A panel serves its rows and, transposed, its columns; of one tower none is below the diagonal.
int32_t Call::accumulate_through_panel_of_warpgroups(const Side &side, float *accumulators) {
  const PanelPlan plan = panel_plan(side.owner, side.other);
  const PanelUse use = panel_use(side.owner, side.other);
  const bool triangular = use == PanelUse::kTriangle;
  float *const of_columns = triangular                         ? accumulators
                            : use == PanelUse::kRowsAndColumns ? other_accumulators_
                                                               : nullptr;
  const int32_t rows_of_tile = rows_of(shape_);
  PanelTask write{};
  write.weights = weights_of(side);
  write.panel = panel_;
  write.panel_rows = plan.panel_rows * rows_of_tile;
  write.panel_columns = plan.panel_tiles * kTileColumns;
  PanelProductTask multiply{};
  multiply.panel = panel_;
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
      sm90::write_panel(stream(), planes_, shape_, online_, write, tile_rows);
      multiply.rows = tile_rows * rows_of_tile;
      multiply.columns = tiles * kTileColumns;
      multiply.triangular = on_diagonal;
      // Rows of one tower were columns first, but for those of the first panels.
      multiply.of_rows = {towers_[side.owner], row, accumulators, tile > 0};
      multiply.of_columns = {towers_[side.other], column, on_diagonal ? nullptr : of_columns, tile_row > 0};
      sm90::accumulate_panel(stream(), planes_, multiply);
    }
  }
  return plan.splits;
}

template <class Scalar>
void Call::finish(const Side &side, const Scalar *accumulators, int32_t splits, int32_t all_splits, Scalar *sums,
                  const float *factor) {
  FinishTask<Scalar> task{};
  task.tower = towers_[side.owner];
  task.partners = towers_[one_tower() ? kAnchors : side.owner == kAnchors ? kKeys : kAnchors];
  task.memory_rows = towers_[kNegatives];
  task.has_pairs = side.owner != kNegatives;
  static_cast<Softmax &>(task) = softmax();
  task.scale = problem_.scale;
  task.accumulators = accumulators;
  task.splits = splits;
  task.all_splits = all_splits;
  task.factor = factor;
  task.sums = sums;
  task.gradient = side.gradient;
  task.radial = side.owner == kAnchors ? radial_ : nullptr;
  cuda::finish(stream(), task);
  lane_->gradient_ready[side.owner].record(stream());
}

}  // namespace infonce::cuda

// The passes of a call over its rows, in the order in which they run.
#include <algorithm>

#include "cuda/call.h"
#include "cuda/launch/paired_negatives.h"
#include "cuda/launch/wide.h"

namespace infonce::cuda {
namespace {

constexpr int32_t kInputOf[kTowers] = {INFONCE_INPUT_ANCHORS, INFONCE_INPUT_KEYS, INFONCE_INPUT_NEGATIVES};

// Dot products of equal rows, summed in another order by the tensor cores, may differ by so many roundings of their
// terms' size: one for each step of 16 along the dimension and each product that is added to the same sum.
float tie_of(Planes planes, int64_t padded_dim) {
  constexpr float kRounding = 1.0f / (1 << 23);
  const int products = planes == Planes::kHigh ? 3 : 1;
  return kRounding * float(8 + products * padded_dim / 16);
}

}  // namespace

void Call::prepare_towers() {
  for (int name = kAnchors; name < kTowers; ++name)
    if (has(TowerName(name))) {
      Range *ranges = name == kAnchors && classes_.apart.empty() ? apart_ : nullptr;
      prepare(stream_, planes_, {towers_[name], name, kInputOf[name], ranges, report_});
    }
  if (narrow_ && wide_ && !problem_.normalize) judge_logits(stream_, problem_.scale, largest_logit_, report_);
}

void Call::find_pairs() {
  pairs_.apart = candidates() == kNegatives ? nullptr : apart_;
  if (!classes_.large.empty()) {
    pairs_.classes = members_;
    class_sums_.members = large_;
    class_sums_.count = int64_t(classes_.large.size());
    sum_classes(stream_, towers_[kAnchors], class_sums_);
    if (narrow_) judge_classes(stream_, class_sums_, problem_.dim, problem_.scale, report_);
  }
  PairsTask task{};
  task.anchors = towers_[kAnchors];
  task.positives = towers_[one_tower() ? kAnchors : kKeys];
  task.pairs = pairs_;
  task.rule = rule_;
  task.class_sums = class_sums_.sums;
  task.class_of = classes_.large.empty() ? nullptr : class_of_;
  task.scale = problem_.scale;
  task.logits = pair_logits_;
  task.rank = rows_.rank;
  task.tie = tie_of(planes_, towers_[kAnchors].padded_dim);
  pair_logits(stream_, planes_, task);
  if (!narrow_ || !wide_) return;
  ask_for_report();
  resources_.decided.record(stream_.handle());
}

// The statistics of `rows` over `columns`, and of the columns with a direction of their own.
void Call::sweep(TowerName rows, TowerName columns, const Direction &row_direction, const Direction *column_direction) {
  const SweepPlan plan = sweep_plan(rows, columns);
  const int32_t rows_of_tile = rows_of(shape_);
  StatisticsTask task{};
  task.rows = towers_[rows];
  task.columns = towers_[columns];
  task.pairs = pairs_;
  task.row_rank = rows_.rank;
  task.column_rank = column_direction ? rows_.rank : nullptr;  // the dot product of a pair is that of both directions
  task.exponent = exponent_;
  task.triangular = is_triangular();
  task.tiles_per_run = plan.tiles_per_run;
  task.by_row = by_row_;
  task.by_column = by_column_;
  AddStatisticsTask add{};
  add.by_row = by_row_;
  add.by_column = by_column_;
  add.of_rows = row_direction;
  if (column_direction) {
    add.of_columns = *column_direction;
    add.columns = towers_[columns].rows;
    add.stride = towers_[columns].padded_rows;
  }
  add.rows_of_tile = rows_of_tile;
  add.tiles = plan.tiles;
  add.tiles_per_run = plan.tiles_per_run;
  add.triangular = is_triangular();
  add.exponent = exponent_;
  for (int32_t first = 0; first < plan.tile_rows; first += plan.strip) {
    const int32_t longest = plan.tiles - (is_triangular() ? first * (rows_of_tile / kTileColumns) : 0);
    task.first_tile_row = add.first_tile_row = first;
    add.tile_rows = std::min(plan.tile_rows - first, plan.strip);
    statistics(stream_, planes_, shape_, online_, task, tiles_of(longest, plan.tiles_per_run), add.tile_rows);
    add_statistics(stream_, add);
  }
}

void Call::sum_exponentials() {
  const bool both = problem_.both_directions;
  if (narrow_ && online_) {
    sweep(kAnchors, candidates(), rows_, nullptr);
    if (both) sweep(kKeys, kAnchors, columns_, nullptr);
  } else if (narrow_) {
    sweep(kAnchors, candidates(), rows_, one_tower() ? &rows_ : both ? &columns_ : nullptr);
  }
  if (narrow_ && wide_) decide();
  if (wide_) {
    const Tower &anchors = towers_[kAnchors], &other = towers_[candidates()];
    wide_log_sum_exp(stream_, anchors, other, pairs_, problem_.scale, pair_logits_.first, rows_);
    if (both) wide_log_sum_exp(stream_, other, anchors, pairs_, problem_.scale, pair_logits_.first, columns_);
  }
}

Softmax Call::softmax() const {
  return {pairs_, rule_, pair_logits_, rows_, columns_, problem_.both_directions != 0, upstream_};
}

void Call::put_losses_together() {
  LossesTask task{};
  task.anchors = towers_[kAnchors];
  static_cast<Softmax &>(task) = softmax();
  task.online = online_;
  task.row_loss = wants_row_loss() ? output_.row_loss : nullptr;
  losses(stream_, task);
}

void Call::compute_gradients() {
  const Direction *columns = problem_.both_directions ? &columns_ : nullptr;
  if (one_tower()) return accumulate({kAnchors, kAnchors, &rows_, &rows_, true, output_.grad_anchors});
  if (candidates() == kKeys) {
    accumulate({kAnchors, kKeys, &rows_, columns, true, output_.grad_anchors});
    accumulate({kKeys, kAnchors, columns, &rows_, true, output_.grad_keys});
    return;
  }
  accumulate({kAnchors, kNegatives, &rows_, nullptr, true, output_.grad_anchors});
  accumulate({kKeys, kAnchors, nullptr, nullptr, false, output_.grad_keys});
  accumulate({kNegatives, kAnchors, nullptr, &rows_, true, output_.grad_negatives});
}

WeightsOf Call::weights_of(const Side &side) const {
  WeightsOf weights{};
  weights.owner = towers_[side.owner];
  weights.other = towers_[side.other];
  weights.pairs = pairs_;
  weights.owner_weight = side.owner_direction ? side.owner_direction->weight : no_weight_;
  weights.other_weight = side.other_direction ? side.other_direction->weight : no_weight_;
  weights.owner_log2_sum = side.owner_direction ? side.owner_direction->log2_sum : no_log2_sum_;
  weights.other_log2_sum = side.other_direction ? side.other_direction->log2_sum : no_log2_sum_;
  weights.owner_target = weights.other_target = rows_.target;
  weights.exponent = exponent_;
  return weights;
}

void Call::accumulate(const Side &side) {
  if (narrow_) return finish(side, accumulators_, accumulate_narrowly(side));
  if (side.in_matrix)
    wide_gradient(stream_, towers_[side.owner], towers_[side.other], pairs_, problem_.scale, side.owner_direction,
                  side.other_direction, wide_panel_, wide_panel_elements(), wide_accumulators_);
  finish(side, wide_accumulators_, side.in_matrix ? 1 : 0);
}

// Returns into how many parts.
int32_t Call::accumulate_narrowly(const Side &side) {
  if (!side.in_matrix) return 0;
  if (!in_registers_) return accumulate_through_panel(side);
  const int32_t splits = register_splits(side.owner, side.other);
  gradient(stream_, planes_, {weights_of(side), accumulators_}, splits);
  return splits;
}

int32_t Call::accumulate_through_panel(const Side &side) {
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
  multiply.accumulators = accumulators_;
  multiply.owner_plane = towers_[side.owner].plane_size();
  for (int32_t row = 0; row < plan.tile_rows; row += plan.panel_rows) {
    const int32_t rows = std::min(plan.panel_rows, plan.tile_rows - row);
    for (int32_t tile = 0; tile < plan.tiles; tile += plan.panel_tiles) {
      const int32_t columns = std::min(plan.panel_tiles, plan.tiles - tile);
      write.first_tile_row = row;
      write.first_tile = tile;
      write.end_tile = tile + columns;
      write.tiles_per_run = std::clamp(rows * columns / (4 * stream_.multiprocessors()), 1, columns);
      write_panel(stream_, planes_, shape_, online_, write, tiles_of(columns, write.tiles_per_run), rows);
      multiply.columns = columns * kTileColumns;
      multiply.first_row = int64_t(row) * rows_of_tile;
      multiply.first_column = int64_t(tile) * kTileColumns;
      multiply.add = tile > 0;
      accumulate_panel(stream_, planes_, shape_, multiply, rows, plan.splits);
    }
  }
  return plan.splits;
}

template <class Scalar> void Call::finish(const Side &side, Scalar *accumulators, int32_t splits) {
  FinishTask<Scalar> task{};
  task.tower = towers_[side.owner];
  task.partners = towers_[one_tower() ? kAnchors : side.owner == kAnchors ? kKeys : kAnchors];
  task.has_pairs = side.owner != kNegatives;
  static_cast<Softmax &>(task) = softmax();
  task.scale = problem_.scale;
  task.accumulators = accumulators;
  task.splits = splits;
  task.gradient = side.gradient;
  task.radial = side.owner == kAnchors ? radial_ : nullptr;
  cuda::finish(stream_, task);
  resources_.gradient_ready[side.owner].record(stream_.handle());
}

void Call::compute_own_negatives() {
  paired_negatives(stream_, problem_, upstream_, dots_, output_.grad_anchors, output_.grad_keys, output_.grad_negatives,
                   rows_.loss, rows_.above, radial_, report_);
  if (wants_row_loss()) write_row_losses(stream_, rows_.loss, output_.row_loss, problem_.rows);
  for (const Event &ready : resources_.gradient_ready) ready.record(stream_.handle());
}

void Call::add_up() {
  TotalsTask task{};
  task.rows = problem_.rows;
  task.loss[0] = rows_.loss;
  task.above[0] = rows_.above;
  if (problem_.both_directions) task.loss[1] = columns_.loss, task.above[1] = columns_.above;
  task.first_logit = own_negatives() ? nullptr : pair_logits_.first;
  task.radial = problem_.gradient ? radial_ : nullptr;
  task.loss_divisor = problem_.reduction == INFONCE_REDUCTION_MEAN ? double(problem_.rows) : 1;
  task.radial_divisor = problem_.scale * (one_tower() ? 2 : 1);
  task.report = report_;
  task.scalars = output_.scalars;
  totals(stream_, task);
}

}  // namespace infonce::cuda

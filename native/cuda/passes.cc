// A call's work in the order in which it is queued.
#include <algorithm>

#include "cuda/call.h"
#include "cuda/launch/paired_negatives.h"
#include "cuda/launch/simclr_logits.h"
#include "cuda/launch/sm90.h"
#include "cuda/launch/wide.h"

namespace infonce::cuda {
namespace {

// Dot products of equal rows, summed in another order by the tensor cores, may differ by so many roundings of their
// terms' size: one for each step of 16 along the dimension and each product that is added to the same sum.
float tie_of(Planes planes, int64_t padded_dim) {
  constexpr float kRounding = 1.0f / (1 << 23);
  const int products = planes == Planes::kHigh ? 3 : 1;
  return kRounding * float(8 + products * padded_dim / 16);
}

}  // namespace

void Call::begin(Lane *previous) {
  if (part_ == Part::kBackward && previous) lane_->follow(*previous);
  lane_->watch(problem_.cancelled, &report_->cancelled);
  lane_->clock.mark(stream(), Clock::kBegin);
  clear();
  upload_all();
  lane_->clock.mark(stream(), Clock::kUploaded);
  if (part_ != Part::kBackward && previous) lane_->follow(*previous);
  lane_->clock.mark(stream(), Clock::kOrdered);
  compute(previous);
  lane_->clock.mark(stream(), Clock::kComputed);
  if (returns_early() || problem_.propagate_non_finite) spoil_arrays();
  if (!returns_early()) queue_downloads();
}

void Call::compute(Lane *previous) {
  double factor = problem_.reduction == INFONCE_REDUCTION_MEAN ? 1.0 / double(rows()) : 1.0;
  if (roles_.both_directions) factor /= 2;
  upstream_ = {grad_output_, problem_.grad_output.count, factor, &report_->largest_upstream};
  if (problem_.grad_output.count > 0) measure_upstream(stream(), grad_output_, problem_.grad_output.count, report_);
  if (part_ != Part::kBackward) bring_rows_into_place();
  if (own_negatives()) {
    compute_own_negatives();
    return add_up();
  }
  if (part_ != Part::kBackward) {
    prepare_towers();
    if (part_ == Part::kLogits) return simclr_logits(stream(), towers_[kAnchors], problem_.scale, logits_);
    find_pairs();
    sum_exponentials(previous);
  }
  put_losses_together();
  if (computes_gradient()) compute_gradients();
  add_up();
}

void Call::prepare_towers() {
  if (!classes_.order.empty()) towers_[kAnchors].order = order_;
  if (!classes_.memory_order.empty()) towers_[kNegatives].order = memory_order_;
  for (int name = kAnchors; name < kTowers; ++name)
    if (has(TowerName(name))) {
      Range *ranges = name == kAnchors && classes_.apart.empty() ? apart_ : nullptr;
      prepare(stream(), planes_, {towers_[name], name, ranges, report_});
    }
  if (narrow_ && wide_ && !problem_.normalize)
    judge_logits(stream(), one_tower(), problem_.scale, largest_logit_, report_);
}

void Call::find_pairs() {
  pairs_.apart = candidates() == kNegatives ? nullptr : apart_;
  if (has_memory()) memory_pairs_.apart = memory_apart_;
  if (!classes_.large.empty()) {
    pairs_.classes = members_;
    class_sums_.members = large_;
    class_sums_.count = int64_t(classes_.large.size());
    if (has_memory()) memory_pairs_.classes = memory_members_, class_sums_.in_memory = memory_large_;
    sum_classes(stream(), towers_[kAnchors], towers_[kNegatives], class_sums_);
    if (narrow_) judge_classes(stream(), class_sums_, problem_.dim, problem_.scale, report_);
  }
  PairsTask task{};
  task.anchors = towers_[kAnchors];
  task.positives = towers_[one_tower() ? kAnchors : kKeys];
  task.memory_rows = towers_[kNegatives];
  task.pairs = pairs_;
  task.memory = memory_pairs_;
  task.rule = rule_;
  task.class_sums = class_sums_.sums;
  task.class_of = classes_.large.empty() ? nullptr : class_of_;
  task.scale = problem_.scale;
  task.logits = pair_logits_;
  task.rank = rows_.rank;
  task.tie = tie_of(planes_, towers_[kAnchors].padded_dim);
  pair_logits(stream(), planes_, task);
  if (!narrow_ || !wide_) return;
  ask_for_report();
  lane_->decided.record(stream());
}

// The statistics of `rows` over `columns`, and of the columns with a direction of their own.
void Call::sweep(TowerName rows, TowerName columns, const Direction &row_direction, const Direction *column_direction) {
  const SweepPlan plan = sweep_plan(rows, columns);
  const int32_t rows_of_tile = rows_of(shape_);
  StatisticsTask task{};
  task.rows = towers_[rows];
  task.columns = towers_[columns];
  task.pairs = pairs_of(columns);
  task.ranks = problem_.ranks != 0;
  task.row_rank = rows_.rank;
  task.column_rank = column_direction ? rows_.rank : nullptr;  // the dot product of a pair is that of both directions
  task.exponent = exponent_;
  task.triangular = is_triangular(rows, columns);
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
  add.rows_of_column_sum = rows_of_column_sums(shape_);
  add.tiles = plan.tiles;
  add.tiles_per_run = plan.tiles_per_run;
  add.triangular = is_triangular(rows, columns);
  add.exponent = exponent_;
  for (int32_t first = 0; first < plan.tile_rows; first += plan.strip) {
    const int32_t longest = plan.tiles - (is_triangular(rows, columns) ? first * (rows_of_tile / kTileColumns) : 0);
    task.first_tile_row = add.first_tile_row = first;
    if (is_of_warpgroups(shape_)) task.order = add.order = plan.order(first);
    add.tile_rows = std::min(plan.tile_rows - first, plan.strip);
    statistics(stream(), planes_, shape_, online_, task, tiles_of(longest, plan.tiles_per_run), add.tile_rows);
    add_statistics(stream(), add);
  }
}

// The anchors' statistics and what their gradient sums, in parts by columns.
void Call::flash() {
  const Tower &rows = towers_[kAnchors];
  const int32_t splits = register_splits(kAnchors, candidates());
  FlashTask task{};
  task.weights = weights_of({kAnchors, candidates(), nullptr, nullptr, true, nullptr});
  task.ranks = problem_.ranks != 0;
  task.row_rank = rows_.rank;
  const int32_t rows_of_block = sm90::gradient_blocks(planes_, rows.padded_dim).rows;
  task.by_row = by_row_;
  task.rows_of_split = int64_t(tiles_of(rows.rows, rows_of_block)) * rows_of_block;
  task.accumulators = flash_accumulators_;
  sm90::flash(stream(), planes_, task, splits);
  AddStatisticsTask add{};
  add.by_row = by_row_;
  add.of_rows = rows_;
  add.rows_of_tile = add.rows_of_column_sum = rows_of_block;
  add.tile_rows = tiles_of(rows.rows, add.rows_of_tile);
  add.tiles = splits;
  add.tiles_per_run = 1;
  add.exponent = exponent_;
  add_statistics(stream(), add);
}

void Call::sum_exponentials(Lane *previous) {
  const bool both = roles_.both_directions;
  if (flash_) {
    flash();
  } else if (narrow_ && online_) {
    sweep(kAnchors, candidates(), rows_, nullptr);
    if (both) sweep(kKeys, kAnchors, columns_, nullptr);
  } else if (narrow_) {
    sweep(kAnchors, candidates(), rows_, one_tower() ? &rows_ : both ? &columns_ : nullptr);
  }
  if (narrow_ && has_memory()) sweep(kAnchors, kNegatives, rows_, nullptr);
  if (narrow_ && wide_) decide(previous);
  if (!wide_) return;
  const auto sum = [&](TowerName rows, TowerName columns, const Direction &direction, bool add) {
    wide_log_sum_exp(stream(), towers_[rows], towers_[columns], pairs_of(columns), problem_.scale, pair_logits_.first,
                     direction, add, problem_.ranks != 0);
  };
  sum(kAnchors, candidates(), rows_, false);
  if (both) sum(candidates(), kAnchors, columns_, false);
  if (has_memory()) sum(kAnchors, kNegatives, rows_, true);
}

Softmax Call::softmax() const {
  return {pairs_, memory_pairs_, rule_, pair_logits_, rows_, columns_, roles_.both_directions, upstream_};
}

void Call::put_losses_together() {
  LossesTask task{};
  task.anchors = towers_[kAnchors];
  static_cast<Softmax &>(task) = softmax();
  task.online = online_;
  task.row_loss = wants_row_loss() ? output_.row_loss.data : nullptr;
  losses(stream(), task);
}

void Call::compute_own_negatives() {
  PairedTask task{};
  task.problem = {towers_[kAnchors].source,  towers_[kKeys].source, towers_[kNegatives].source, rows(),
                  towers_[kNegatives].rows,  problem_.dim,          problem_.scale,             problem_.normalize != 0,
                  problem_.ranks != 0};
  task.upstream = upstream_;
  task.negatives = dots_;
  if (wants_gradient_of(kAnchors)) task.grad_anchors = gradient_of(kAnchors);
  if (wants_gradient_of(kKeys)) task.grad_keys = gradient_of(kKeys);
  if (wants_gradient_of(kNegatives)) task.grad_negatives = gradient_of(kNegatives);
  task.loss = rows_.loss;
  task.above = rows_.all_above;
  task.radial = radial_;
  task.report = report_;
  paired_negatives(stream(), task);
  if (wants_row_loss()) write_row_losses(stream(), rows_.loss, output_.row_loss.data, rows());
  for (const Event &ready : lane_->gradient_ready) ready.record(stream());
}

void Call::add_up() {
  TotalsTask task{};
  task.rows = rows();
  task.ranks = problem_.ranks != 0;
  task.loss[0] = rows_.loss;
  task.above[0] = rows_.all_above;
  if (roles_.both_directions) task.loss[1] = columns_.loss, task.above[1] = columns_.all_above;
  task.first_logit = own_negatives() ? nullptr : pair_logits_.first;
  task.radial = computes_gradient() ? radial_ : nullptr;
  task.loss_divisor = problem_.reduction == INFONCE_REDUCTION_MEAN ? double(rows()) : 1;
  task.radial_divisor = problem_.scale * (one_tower() ? 2 : 1);
  task.report = report_;
  task.scalars = output_.device_scalars;
  totals(stream(), task);
}

}  // namespace infonce::cuda

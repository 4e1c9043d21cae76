// The sums of exponentials that each block adds to its softmaxes.
#include <algorithm>
#include <functional>

#include "cuda/launch/paired_negatives.h"
#include "cuda/launch/sm90.h"
#include "cuda/launch/float64.h"
#include "cuda/steps/steps.h"

namespace infonce::cuda::steps {
namespace {

// What the last launch of statistics has left.
void put_together(Work *work) {
  if (work->sums.tile_rows > 0) add_statistics(work->stream(), work->sums);
  work->sums = {};
}

void sum_in_float32(Work *of, const Sweep &sweep) {
  const Work &work = *of;
  const Buffers &buffers = work.buffers;
  const Choice &choice = work.choice;
  const SweepPlan &plan = sweep.plan;
  const Direction *of_columns = work.softmax(sweep.block.column_softmax);
  const int32_t rows_of_tile = rows_of(choice.shape);
  StatisticsTask task{};
  task.rows = work.tower(sweep.block.rows);
  task.columns = work.tower(sweep.block.columns);
  task.pairs = work.pairs_of(sweep.block);
  task.ranks = work.problem.ranks != 0;
  // Without positives there is none: kernels read it all the same.
  const bool has_positives = work.problem.softmaxes[0].positive != INFONCE_POSITIVE_NONE;
  task.row_rank = has_positives ? buffers.softmaxes[0].rank : buffers.no_weight;
  // The dot product of a pair is that of both softmaxes.
  const bool is_of_part = sweep.block.column_softmax == kOfColumns;
  task.column_rank = is_of_part ? of_columns->rank : of_columns ? task.row_rank : nullptr;
  task.exponent = work.exponent_of(sweep.block);
  task.shift = work.shift();
  task.triangular = sweep.triangular;
  task.tiles_per_run = plan.tiles_per_run;
  task.by_row = buffers.by_row;
  task.by_column = buffers.by_column;
  AddStatisticsTask add{};
  add.by_row = buffers.by_row;
  add.by_column = buffers.by_column;
  add.of_rows = *work.softmax(sweep.block.row_softmax);
  if (of_columns) {
    add.of_columns = *of_columns;
    add.columns = task.columns.rows;
    add.stride = task.columns.padded_rows;
  }
  add.rows_of_tile = rows_of_tile;
  add.rows_of_column_sum = rows_of_column_sums(choice.shape);
  add.tiles = plan.tiles;
  add.tiles_per_run = plan.tiles_per_run;
  add.triangular = sweep.triangular;
  add.of_sigmoids = choice.sigmoids;
  add.exponent = task.exponent;
  for (int32_t first = 0; first < plan.tile_rows; first += plan.strip) {
    const int32_t longest = plan.tiles - first * plan.step;
    task.first_tile_row = add.first_tile_row = first;
    task.order = add.order = plan.order(first);
    add.tile_rows = std::min(plan.tile_rows - first, plan.strip);
    put_together(of);  // where this launch leaves its own
    choice.architecture->statistics(work.stream(), choice.planes, choice.shape, choice.terms(), task,
                                    tiles_of(longest, plan.tiles_per_run), add.tile_rows);
    of->sums = add;
  }
}

// The anchors' statistics and what their gradient sums, in parts by columns.
void flash(Work *of) {
  const Work &work = *of;
  const Buffers &buffers = work.buffers;
  const Choice &choice = work.choice;
  const Tower &rows = work.anchor_tower();
  FlashTask task{};
  const Block &block = choice.blocks[0];
  task.weights = weights_of(work, {choice.anchors, block.columns, kNone, kNone, block.left_out, block.scale});
  task.ranks = work.problem.ranks != 0;
  task.row_rank = buffers.softmaxes[0].rank;
  const int32_t rows_of_block = sm90::gradient_blocks(choice.planes, rows.padded_dim).rows;
  task.by_row = buffers.by_row;
  task.rows_of_split = choice.flash_rows;
  task.accumulators = buffers.flash_accumulators;
  sm90::flash(work.stream(), choice.planes, task, choice.flash_splits);
  AddStatisticsTask add{};
  add.by_row = buffers.by_row;
  add.of_rows = buffers.softmaxes[0];
  add.rows_of_tile = add.rows_of_column_sum = rows_of_block;
  add.tile_rows = choice.flash_rows / rows_of_block;
  add.tiles = choice.flash_splits;
  add.tiles_per_run = 1;
  add.exponent = task.weights.exponent;
  of->sums = add;
}

// What the first kernels say of the data. They are done long before the statistics that were queued behind them, but
// not before the kernels of the previous call, which may be cancelled meanwhile.
void decide(Work *work, Lane *previous) {
  std::function<void()> meanwhile;
  if (previous) meanwhile = [previous] { previous->end_early_if_cancelled(); };
  work->stream().synchronize(work->lane->decided.get(), meanwhile);
  work->in_float64 = work->lane->report.get()->use_float64 != 0;
  work->in_float32 = !work->in_float64;
}

void sum_sigmoids(Work *work) {
  for (const Block &block : work->choice.blocks) {
    bool &is_summed = work->is_summed[block.row_softmax];
    sigmoid_statistics(work->stream(), sigmoid_of(*work, block), work->buffers.pair_logits.first,
                       *work->softmax(block.row_softmax), is_summed, work->problem.ranks != 0);
    is_summed = true;
  }
}

}  // namespace

void sum_exponentials(Work *work, Lane *previous) {
  if (is_sigmoid(work->problem) && work->in_float64) return sum_sigmoids(work);
  if (work->in_float32) {
    if (work->choice.flash) flash(work);
    for (const Sweep &sweep : work->choice.sweeps) sum_in_float32(work, sweep);
    if (!work->phase.has_losses || work->choice.sigmoids) put_together(work);
  }
  if (work->in_float32 && work->in_float64) decide(work, previous);
  if (!work->in_float64) return;
  work->sums = {};  // are computed anew
  for (const Block &block : work->choice.row_blocks) {
    bool &is_summed = work->is_summed[block.row_softmax];
    const double beta = work->problem.softmaxes[0].beta;
    Float64Task task = float64_task_of(*work, block);
    const double *positive_logit = work->positive_logit(block.row_softmax);
    float64_log_sum_exp(work->stream(), task, positive_logit, task.scale / work->choice.scale,
                        *work->softmax(block.row_softmax), is_summed, work->problem.ranks != 0);
    if (beta != 0) {
      task.scale = block.scale * beta;
      float64_log_sum_exp(work->stream(), task, positive_logit, 1, *work->weights(block.row_softmax), is_summed, false);
    }
    is_summed = true;
  }
  sum_further_positives(*work);
  if (work->phase.is_part && work->is_smoothed()) sum_smoothed_part(*work);
  if (!work->own_beside()) return;
  own_statistics(work->stream(), own_task_of(*work));
  work->is_summed[0] = true;
}

}  // namespace infonce::cuda::steps

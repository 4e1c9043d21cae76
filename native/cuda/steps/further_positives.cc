// Positives by id that tiles leave out: their sums before the losses, and what they bring to the gradients.
#include "cuda/launch/further_positives.h"

#include <limits>

#include "cuda/steps/steps.h"

namespace infonce::cuda::steps {
namespace {

FurtherTask task_of(const Work &work, const Block &block) {
  const Buffers &buffers = work.buffers;
  const infonce_softmax &softmax = work.problem.softmaxes[0];
  const SomeAnchors &some = work.some_anchors;
  FurtherTask task{};
  task.are_some = !some.rows.empty();
  task.anchors = work.phase.is_part ? work.anchors_of_call : work.tower(block.rows);
  task.candidates = work.tower(block.columns);
  task.anchor_ids = task.are_some ? some.ids : buffers.ids[block.rows];
  task.candidate_ids = buffers.ids[block.columns];
  task.bias = buffers.bias[block.columns];
  task.one_tower = block.is_triangle();
  task.are_keys = block.columns == work.choice.keys;
  if (work.classes.has_targets()) task.targets = buffers.classes.targets;
  if (block.left_out & INFONCE_LEAVE_OUT_TARGET) {
    task.target_numbers = task.are_some ? some.targets : buffers.target_numbers;
    task.first_number = work.problem.matrices[block.columns].first_number;
  }
  task.first_anchor = task.are_some ? some.first : 0;
  task.end_anchor = task.are_some ? some.first + int64_t(some.rows.size()) : std::numeric_limits<int64_t>::max();
  task.scale = block.scale;
  task.smoothing = softmax.label_smoothing;
  task.by_index = !work.choice.meets_by_id;
  task.ranks = work.choice.meets_by_id && work.problem.ranks && has_positives(softmax.row_loss);
  task.first_of_anchors = task.are_some ? some.positive_logit : buffers.pair_logits.first;
  task.first_of_candidates = work.positive_logit(block.column_softmax);
  task.of_rows = task.are_some ? some.softmax : *work.softmax(block.row_softmax);
  task.has_columns = block.column_softmax != kNone;
  if (task.has_columns) task.of_columns = *work.softmax(block.column_softmax);
  return task;
}

// Calls visit(block, task) for those that have such pairs.
template <class Visit> void for_each_block(const Work &work, Visit &&visit) {
  for (const Block &block : work.choice.blocks)
    if (work.has_further_positives(block)) visit(block, task_of(work, block));
}

}  // namespace

void sum_further_positives(const Work &work) {
  for_each_block(work, [&](const Block &block, const FurtherTask &task) {
    further_positives(work.stream(), task, false, work.further(block.row_softmax));
    if (task.has_columns && !task.one_tower)
      further_positives(work.stream(), task, true, work.further(block.column_softmax));
  });
}

void sum_terms_of_part(const Work &work) {
  for_each_block(work, [&](const Block &block, const FurtherTask &task) {
    const FurtherSums &of_rows = work.further(block.row_softmax);
    further_terms(work.stream(), task, false, of_rows, of_rows);
    if (!task.has_columns) return;
    const FurtherSums &of_columns = work.further(block.column_softmax);
    further_terms(work.stream(), task, true, of_columns, of_columns);
  });
}

FurtherSums sum_all_terms(const Work &work) {
  FurtherSums sums = work.buffers.further[0];
  sums.term_losses = work.buffers.all_terms.term_losses;
  sums.term_shares = work.buffers.all_terms.term_shares;
  FurtherSums before = work.buffers.further[0];
  for_each_block(work, [&](const Block &, const FurtherTask &task) {
    further_terms(work.stream(), task, false, before, sums);
    before = sums;
  });
  return sums;
}

void add_further_positives(const Work &work, int matrix, double *planes, int32_t of_triangle) {
  for_each_block(work, [&](const Block &block, const FurtherTask &task) {
    if (matrix != block.rows && matrix != block.columns) return;
    // What counts apart from the triangle stands behind its plane.
    const int64_t plane = block.is_triangle() ? 0 : of_triangle;
    double *const accumulators = planes + plane * work.tower(matrix).plane_size();
    const FurtherSums &of_rows = work.further(block.row_softmax);
    further_gradients(work.stream(), work.problem.softmaxes[0].row_loss, task, matrix != block.rows, of_rows,
                      task.has_columns ? work.further(block.column_softmax) : FurtherSums{}, accumulators);
  });
}

}  // namespace infonce::cuda::steps

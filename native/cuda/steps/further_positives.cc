// Positives by id beside the one by index: their sums before the losses, and what they bring to the gradients.
#include "cuda/launch/further_positives.h"

#include "cuda/steps/steps.h"

namespace infonce::cuda::steps {
namespace {

bool has_further_positives(const Block &block) { return (block.left_out & INFONCE_LEAVE_OUT_SAME_ID_POSITIVE) != 0; }

FurtherTask task_of(const Work &work, const Block &block) {
  const Buffers &buffers = work.buffers;
  FurtherTask task{};
  task.anchors = work.tower(block.rows);
  task.candidates = work.tower(block.columns);
  task.anchor_ids = buffers.ids[block.rows];
  task.candidate_ids = buffers.ids[block.columns];
  task.bias = buffers.bias[block.columns];
  task.are_keys = block.columns == work.choice.keys;
  if (work.classes.has_targets()) task.targets = buffers.classes.targets;
  task.scale = block.scale;
  task.of_rows = *work.softmax(block.row_softmax);
  task.has_columns = block.column_softmax != kNone;
  if (task.has_columns) task.of_columns = *work.softmax(block.column_softmax);
  return task;
}

}  // namespace

void sum_further_positives(const Work &work) {
  bool add = false;
  for (const Block &block : work.choice.blocks) {
    if (!has_further_positives(block)) continue;
    const FurtherTask task = task_of(work, block);
    further_positives(work.stream(), task, false, work.buffers.further[0], add);
    // No other block has columns with losses.
    if (task.has_columns) further_positives(work.stream(), task, true, work.buffers.further[1], false);
    add = true;
  }
}

void add_further_positives(const Work &work, int matrix, double *accumulators) {
  const FurtherSums *further = work.buffers.further;
  for (const Block &block : work.choice.blocks)
    if (has_further_positives(block) && (matrix == block.rows || matrix == block.columns))
      further_gradients(work.stream(), task_of(work, block), matrix == block.columns, further[0], further[1],
                        accumulators);
}

}  // namespace infonce::cuda::steps

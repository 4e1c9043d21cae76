// The gradient in registers in several launches, where a launch may not take long. A part is the same task with all that
// is indexed by the owner's rows moved on: kernels know nothing of it, who have no register for a row to begin with.
#pragma once

#include <algorithm>

#include "cuda/launch/launch.h"

namespace infonce::cuda {

inline WeightsOf rows_from(WeightsOf of, int64_t first) {
  const auto move = [&](auto *&array) {
    if (array) array += first;
  };
  of.owner.planes += first * of.owner.padded_dim;
  of.owner.rows -= first;
  move(of.pairs.apart);
  move(of.pairs.classes);
  move(of.pairs.row_ids);
  move(of.owner_weight);
  move(of.owner_log2_sum);
  move(of.owner_target);
  return of;
}

inline GradientTask rows_from(GradientTask task, int64_t first) {
  task.weights = rows_from(task.weights, first);
  task.accumulators += first * task.weights.owner.padded_dim;
  return task;
}

inline FlashTask rows_from(FlashTask task, int64_t first) {
  task.weights = rows_from(task.weights, first);
  task.accumulators += first * task.weights.owner.padded_dim;
  task.row_rank += first;
  task.by_row.sum += first;
  task.by_row.above += first;
  return task;
}

// Calls visit(task, blocks) for each launch.
template <class Task, class Visit>
void for_each_part(const Stream &stream, Planes planes, const Task &task, int rows_of_block, Visit &&visit) {
  const Tower &owner = task.weights.owner;
  const unsigned all = blocks_of(owner.rows, rows_of_block);
  // The logits, and the product of weights made of them.
  const Operations operations =
      operations_of(planes, 2 * owner.padded_rows, task.weights.other.padded_rows, owner.padded_dim);
  const unsigned most = std::max(1u, unsigned(double(all) * stream.hardware().share_of_launch(operations)));
  for (unsigned first = 0; first < all; first += most)
    visit(rows_from(task, int64_t(first) * rows_of_block), std::min(most, all - first));
}

}  // namespace infonce::cuda

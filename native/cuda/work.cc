#include "cuda/work.h"

#include <algorithm>

namespace infonce::cuda {

bool Work::needs_ids(int matrix) const {
  if (choice.meets_by_id)
    return phase.is_part ? meets_by_id(choice.blocks[0]) : matrix == anchors() || matrix == memory_of(problem);
  if (problem.softmaxes[0].positive == INFONCE_POSITIVE_SAME_ID_ELSEWHERE) return true;
  return std::any_of(problem.blocks, problem.blocks + problem.block_count, [&](const infonce_block &block) {
    return leaves_out_by_id(block) && (block.anchors == matrix || block.candidates == matrix);
  });
}

// That of rows that are no candidates in any row's softmax is not read.
bool Work::needs_bias(int matrix) const { return problem.matrices[matrix].bias && matrix != anchors(); }

int64_t Work::source_row(int matrix, int64_t prepared_row) const {
  const std::vector<int32_t> none, &order = matrix == anchors()       ? classes.order
                                            : matrix == choice.memory ? classes.memory_order
                                                                      : none;
  return order.empty() ? choice.towers[matrix].source_row(prepared_row) : order[prepared_row];
}

bool Work::finds_pairs_by_range() const {
  return !positives_are_anchors() && (classes.has_targets() || choice.has_triangle());
}

WeightsOf weights_of(const Work &work, const Block &block) {
  const Buffers &buffers = work.buffers;
  const Direction *of_rows = work.softmax(block.row_softmax), *of_columns = work.softmax(block.column_softmax);
  const float *target = buffers.softmaxes[0].target;
  WeightsOf weights{};
  weights.owner = work.tower(block.rows);
  weights.other = work.tower(block.columns);
  weights.pairs = work.pairs_of(block);
  weights.owner_weight = of_rows ? of_rows->weight : buffers.no_weight;
  weights.other_weight = of_columns ? of_columns->weight : buffers.no_weight;
  weights.owner_log2_sum = of_rows ? of_rows->log2_sum : buffers.no_log2_sum;
  weights.other_log2_sum = of_columns ? of_columns->log2_sum : buffers.no_log2_sum;
  weights.owner_target = target;
  weights.other_target = block.columns == work.anchors() ? target : buffers.no_weight;
  weights.exponent = work.exponent_of(block);
  weights.shift = work.shift();
  return weights;
}

Masks masks_of(const Work &work, const Block &block) {
  const Buffers &buffers = work.buffers;
  Masks masks{};
  if (work.has_further_positives(block) || (block.left_out & INFONCE_LEAVE_OUT_SAME_ID))
    masks.row_ids = buffers.ids[block.rows], masks.column_ids = buffers.ids[block.columns];
  if (block.rows == work.anchors()) masks.column_bias = buffers.bias[block.columns];
  else masks.row_bias = buffers.bias[block.rows];
  if (block.left_out & INFONCE_LEAVE_OUT_OWN) {
    const bool are_rows = block.rows != work.anchors() && block.rows != work.choice.keys;
    (are_rows ? masks.row_period : masks.column_period) = work.rows();
  }
  if (block.left_out & INFONCE_LEAVE_OUT_TARGET) {
    const bool are_rows = block.rows == work.anchors();
    (are_rows ? masks.row_target : masks.column_target) = buffers.target_numbers;
    masks.first_number = work.problem.matrices[are_rows ? block.columns : block.rows].first_number;
  }
  if (const infonce_block *threshold = threshold_of(work.problem)) {
    (block.rows == work.anchors() ? masks.row_most : masks.column_most) = buffers.most;
    masks.by_guide = threshold->by_guide != 0;
  }
  return masks;
}

Float64Task float64_task_of(const Work &work, const Block &block) {
  Float64Task task{};
  task.owner = work.tower(block.rows);
  task.other = work.tower(block.columns);
  task.pairs = work.pairs_of(block);
  task.masks = masks_of(work, block);
  task.scale = block.scale * (1 + work.problem.softmaxes[0].beta);
  task.guide_owner = work.buffers.guides[block.rows];
  task.guide_other = work.buffers.guides[block.columns];
  return task;
}

SigmoidTask sigmoid_of(const Work &work, const Block &block) {
  SigmoidTask task{};
  task.block.owner = work.tower(block.rows);
  task.block.other = work.tower(block.columns);
  task.block.scale = work.problem.scale;
  task.block.masks.row_ids = work.buffers.ids[block.rows];
  task.block.masks.column_ids = work.buffers.ids[block.columns];
  // Those of parts have their anchors elsewhere.
  task.positives_by_index = work.problem.softmaxes[0].positive == INFONCE_POSITIVE_SAME_INDEX && !work.phase.is_part;
  task.bias = work.problem.bias;
  return task;
}

Softmax softmax_of(const Work &work) {
  const Buffers &buffers = work.buffers;
  const int memory = work.choice.memory;
  return {work.pairs[work.anchors()],
          memory == kNone ? Pairs{} : work.pairs[memory],
          work.rule,
          buffers.pair_logits,
          buffers.softmaxes[0],
          buffers.softmaxes[1],
          work.problem.softmax_count > 1,
          work.upstream};
}

OwnTask own_task_of(const Work &work) {
  const Buffers &buffers = work.buffers;
  const infonce_problem &problem = work.problem;
  const infonce_block &block = *work.own_beside();
  const bool among = block.own == INFONCE_OWN_AMONG;
  OwnTask task{};
  task.anchors = work.anchor_tower();
  task.matrix = block.candidates;
  task.own = work.tower(task.matrix).source;
  task.own_stride = work.tower(task.matrix).source_stride;
  task.each = problem.matrices[task.matrix].rows / work.rows();
  task.of_anchor = among ? 1 : task.each;
  task.of_next = among ? work.rows() : 1;
  task.counts = buffers.own_counts;
  task.scale = problem.scale;
  task.logit_scale = own_scale_of(problem, block);
  task.ranks = problem.ranks != 0;
  task.positive_logit = buffers.pair_logits.first;
  task.softmax = buffers.softmaxes[0];
  task.pairs = buffers.own_pairs;
  task.shares = buffers.own_shares;
  task.upstream = work.upstream;
  if (!among) task.gradients = work.gradient_of(task.matrix);
  task.report = buffers.report;
  return task;
}

}  // namespace infonce::cuda

#include "cuda/work.h"

namespace infonce::cuda {

WeightsOf weights_of(const Work &work, const Block &block) {
  const Buffers &buffers = work.buffers;
  const Direction *of_rows = work.softmax(block.row_softmax), *of_columns = work.softmax(block.column_softmax);
  const float *target = buffers.softmaxes[0].target;
  WeightsOf weights{};
  weights.owner = work.tower(block.rows);
  weights.other = work.tower(block.columns);
  weights.pairs = work.pairs_with(block.columns);
  weights.owner_weight = of_rows ? of_rows->weight : buffers.no_weight;
  weights.other_weight = of_columns ? of_columns->weight : buffers.no_weight;
  weights.owner_log2_sum = of_rows ? of_rows->log2_sum : buffers.no_log2_sum;
  weights.other_log2_sum = of_columns ? of_columns->log2_sum : buffers.no_log2_sum;
  weights.owner_target = target;
  weights.other_target = block.columns == kNegatives ? buffers.no_weight : target;
  weights.exponent = work.exponent;
  return weights;
}

Softmax softmax_of(const Work &work) {
  const Buffers &buffers = work.buffers;
  return {work.pairs,           work.memory_pairs,          work.rule,    buffers.pair_logits, buffers.softmaxes[0],
          buffers.softmaxes[1], work.roles.both_directions, work.upstream};
}

}  // namespace infonce::cuda

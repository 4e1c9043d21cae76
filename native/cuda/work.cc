#include "cuda/work.h"

namespace infonce::cuda {

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
  weights.exponent = work.exponent;
  return weights;
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

}  // namespace infonce::cuda

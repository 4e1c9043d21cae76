// Operands of the tensor cores, and the pairs that are treated one by one.
#include "cuda/launch/float64.h"
#include "cuda/steps/steps.h"

namespace infonce::cuda::steps {
namespace {

// Dot products of equal rows, summed in another order by the tensor cores, may differ by so many roundings of their
// terms' size: one for each step of 16 along the dimension and each product that is added to the same sum.
float tie_of(Planes planes, int64_t padded_dim) {
  constexpr float kRounding = 1.0f / (1 << 23);
  const int products = planes == Planes::kHigh ? 3 : 1;
  return kRounding * float(8 + products * padded_dim / 16);
}

void sum_large_classes(Work *work) {
  const Buffers::OfClasses &classes = work->buffers.classes;
  ClassSums &sums = work->buffers.class_sums;
  work->pairs[work->anchors()].classes = classes.members;
  sums.members = classes.large;
  sums.count = int64_t(work->classes.large.size());
  if (work->choice.memory != kNone) {
    work->pairs[work->choice.memory].classes = classes.memory_members;
    sums.in_memory = classes.memory_large;
  }
  sum_classes(work->stream(), work->anchor_tower(), work->memory_tower(), sums);
  if (work->in_float32)
    judge_classes(work->stream(), sums, work->problem.dim, work->problem.scale, work->buffers.report);
}

}  // namespace

void measure_upstream(Work *work) {
  const infonce_grad_output &upstream = work->problem.grad_output;
  const Buffers &buffers = work->buffers;
  double factor = work->problem.reduction == INFONCE_REDUCTION_MEAN ? 1.0 / double(work->rows()) : 1.0;
  factor /= work->problem.softmax_count;
  work->upstream = {buffers.grad_output, upstream.count, factor, &buffers.report->largest_upstream};
  if (upstream.count > 0) cuda::measure_upstream(work->stream(), buffers.grad_output, upstream.count, buffers.report);
}

void prepare(Work *work) {
  Buffers &buffers = work->buffers;
  const Classes &classes = work->classes;
  const Choice &choice = work->choice;
  if (!classes.order.empty()) buffers.towers[choice.anchors].order = buffers.classes.order;
  if (!classes.memory_order.empty()) buffers.towers[choice.memory].order = buffers.classes.memory_order;
  uint32_t others = 0;  // with which anchors have logits
  std::vector<PrepareTask> tasks;
  work->for_each_brought_matrix([&](int m) {
    if (m == choice.own) return;  // read as it is
    Range *ranges = m == choice.anchors && classes.apart.empty() ? buffers.classes.apart : nullptr;
    tasks.push_back({buffers.towers[m], m, ranges, buffers.report});
    if (m != choice.anchors || choice.has_triangle()) others |= uint32_t(1) << m;
  });
  if (!work->some_anchors.rows.empty())
    tasks.push_back({buffers.towers[choice.anchors], choice.anchors, nullptr, buffers.report});
  if (!work->some_anchors.rows.empty() && has_guides(work->problem))
    tasks.push_back({buffers.guides[choice.anchors], kGuideInputs + choice.anchors, nullptr, buffers.report});
  work->for_each_brought_guide([&](int m) {
    buffers.guides[m].order = buffers.towers[m].order;
    tasks.push_back({buffers.guides[m], kGuideInputs + m, nullptr, buffers.report});
  });
  cuda::prepare(work->stream(), choice.planes, tasks);
  if (work->phase.sums && work->in_float32 && work->in_float64 && !work->problem.normalize)
    judge_logits(work->stream(), choice.anchors, others, largest_scale(work->problem), choice.largest_logit,
                 buffers.report);
}

void find_pairs(Work *work) {
  const Buffers &buffers = work->buffers;
  const Choice &choice = work->choice;
  PairsTask task{};
  work->pairs[choice.anchors].apart = buffers.classes.apart;
  if (choice.memory != kNone) work->pairs[choice.memory].apart = buffers.classes.memory_apart;
  if (choice.keys != kNone && work->problem.softmaxes[0].positive != INFONCE_POSITIVE_NONE) {
    const bool has_targets = work->classes.has_targets();
    work->pairs[choice.keys].apart = has_targets ? buffers.classes.targets : buffers.classes.apart;
    work->pairs_of_keys.apart = has_targets ? buffers.classes.anchors_of_keys : buffers.classes.apart;
    task.bias_of_keys = buffers.bias[choice.keys];
    if (has_targets) task.targets = buffers.classes.targets;
  }
  if (choice.meets_by_id) {
    const auto tower_or_none = [&](int matrix) { return matrix == kNone ? Tower{} : work->tower(matrix); };
    return first_logits(work->stream(), {work->anchor_tower(), tower_or_none(first_positives_in(work->problem)),
                                         tower_or_none(memory_of(work->problem)), buffers.classes.firsts,
                                         work->problem.scale, buffers.pair_logits.first});
  }
  if (!work->classes.large.empty()) sum_large_classes(work);
  task.anchors = work->anchor_tower();
  task.positives = work->tower(work->positives_are_anchors() ? choice.anchors : choice.keys);
  task.memory_rows = work->memory_tower();
  task.pairs = work->pairs[choice.anchors];
  if (choice.memory != kNone) {
    task.memory = work->pairs[choice.memory];
    task.bias_of_memory = buffers.bias[choice.memory];
  }
  if (const infonce_block *block = threshold_of(work->problem)) {
    const Tower *towers = block->by_guide ? buffers.guides : buffers.towers;
    thresholds(work->stream(), {towers[choice.anchors], towers[choice.keys], work->pairs[choice.keys].apart,
                                block->threshold == INFONCE_THRESHOLD_RELATIVE, block->threshold_margin, buffers.most});
  }
  // Further views of a sample are pairs, but no positives where the first one is.
  for (const Block &block : choice.blocks)
    if (block.is_triangle() && (block.left_out & INFONCE_LEAVE_OUT_SAME_ID) && work->rule.first_only)
      task.ids = buffers.ids[choice.anchors];
  task.rule = work->rule;
  task.class_sums = buffers.class_sums.sums;
  task.class_of = work->classes.large.empty() ? nullptr : buffers.classes.class_of;
  task.scale = work->problem.scale;
  task.margin = work->problem.softmaxes[0].margin;
  task.logits = buffers.pair_logits;
  task.rank = buffers.softmaxes[0].rank;
  task.tie = tie_of(choice.planes, task.anchors.padded_dim);
  // A loss without ranks and pairs has no use for it, nor perhaps a row of the same index.
  if (is_sigmoid(work->problem) && !work->problem.ranks && !work->has_sigmoids_of_pairs()) return;
  pair_logits(work->stream(), choice.planes, task);
  if (!work->in_float32 || !work->in_float64) return;
  ask_for_report(*work);
  work->lane->decided.record(work->stream());
}

}  // namespace infonce::cuda::steps

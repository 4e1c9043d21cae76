// Operands of the tensor cores, and the pairs that are treated one by one.
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
  work->pairs.classes = classes.members;
  sums.members = classes.large;
  sums.count = int64_t(work->classes.large.size());
  if (work->roles.has_memory()) {
    work->memory_pairs.classes = classes.memory_members;
    sums.in_memory = classes.memory_large;
  }
  sum_classes(work->stream(), work->tower(kAnchors), work->tower(kNegatives), sums);
  if (work->in_float32)
    judge_classes(work->stream(), sums, work->problem.dim, work->problem.scale, work->buffers.report);
}

}  // namespace

void measure_upstream(Work *work) {
  const infonce_grad_output &upstream = work->problem.grad_output;
  const Buffers &buffers = work->buffers;
  double factor = work->problem.reduction == INFONCE_REDUCTION_MEAN ? 1.0 / double(work->rows()) : 1.0;
  if (work->roles.both_directions) factor /= 2;
  work->upstream = {buffers.grad_output, upstream.count, factor, &buffers.report->largest_upstream};
  if (upstream.count > 0) cuda::measure_upstream(work->stream(), buffers.grad_output, upstream.count, buffers.report);
}

void prepare(Work *work) {
  Buffers &buffers = work->buffers;
  const Classes &classes = work->classes;
  if (!classes.order.empty()) buffers.towers[kAnchors].order = buffers.classes.order;
  if (!classes.memory_order.empty()) buffers.towers[kNegatives].order = buffers.classes.memory_order;
  for (const TowerName name : {kAnchors, kKeys, kNegatives})
    if (work->has(name)) {
      Range *ranges = name == kAnchors && classes.apart.empty() ? buffers.classes.apart : nullptr;
      cuda::prepare(work->stream(), work->choice.planes, {buffers.towers[name], name, ranges, buffers.report});
    }
  if (work->in_float32 && work->in_float64 && !work->problem.normalize)
    judge_logits(work->stream(), work->roles.one_tower(), work->problem.scale, work->choice.largest_logit,
                 buffers.report);
}

void find_pairs(Work *work) {
  const Buffers &buffers = work->buffers;
  const bool one_tower = work->roles.one_tower();
  work->pairs.apart = work->roles.candidates == Candidates::kSharedNegatives ? nullptr : buffers.classes.apart;
  if (work->roles.has_memory()) work->memory_pairs.apart = buffers.classes.memory_apart;
  if (!work->classes.large.empty()) sum_large_classes(work);
  PairsTask task{};
  task.anchors = work->tower(kAnchors);
  task.positives = work->tower(one_tower ? kAnchors : kKeys);
  task.memory_rows = work->tower(kNegatives);
  task.pairs = work->pairs;
  task.memory = work->memory_pairs;
  task.rule = work->rule;
  task.class_sums = buffers.class_sums.sums;
  task.class_of = work->classes.large.empty() ? nullptr : buffers.classes.class_of;
  task.scale = work->problem.scale;
  task.logits = buffers.pair_logits;
  task.rank = buffers.softmaxes[0].rank;
  task.tie = tie_of(work->choice.planes, task.anchors.padded_dim);
  pair_logits(work->stream(), work->choice.planes, task);
  if (!work->in_float32 || !work->in_float64) return;
  ask_for_report(*work);
  work->lane->decided.record(work->stream());
}

}  // namespace infonce::cuda::steps

// The gradients of a call: what the blocks add to each tower's, in registers, through panels of weights or in float64,
// and then what finishes it.
#include "cuda/launch/wide.h"
#include "cuda/steps/steps.h"

namespace infonce::cuda::steps {
namespace {

// `splits` of the first part, `all_splits` with those of a memory. `factor` of a row's accumulators, or null.
template <class Scalar>
void finish(const Work &work, TowerName tower, const Scalar *accumulators, int32_t splits, int32_t all_splits,
            Scalar *sums, const float *factor = nullptr) {
  FinishTask<Scalar> task{};
  task.tower = work.tower(tower);
  task.partners = work.tower(work.roles.one_tower() ? kAnchors : tower == kAnchors ? kKeys : kAnchors);
  task.memory_rows = work.tower(kNegatives);
  task.has_pairs = tower != kNegatives;
  static_cast<Softmax &>(task) = softmax_of(work);
  task.scale = work.problem.scale;
  task.accumulators = accumulators;
  task.splits = splits;
  task.all_splits = all_splits;
  task.factor = factor;
  task.sums = sums;
  task.gradient = work.gradient_of(tower);
  task.radial = tower == kAnchors ? work.buffers.radial : nullptr;
  cuda::finish(work.stream(), task);
}

void in_float32(const Work &work, const TowerGradient &of) {
  const Buffers &buffers = work.buffers;
  const Choice &choice = work.choice;
  if (choice.flash && of.tower == kAnchors)
    return finish(work, of.tower, buffers.flash_accumulators, choice.flash_splits, choice.flash_splits,
                  buffers.accumulators, buffers.softmaxes[0].weight);
  float *const sums = of.from_columns ? buffers.accumulators_of_columns : buffers.accumulators;
  int32_t all_splits = 0;
  for (const GradientPart &part : of.parts) {
    float *const accumulators = sums + all_splits * work.tower(of.tower).plane_size();
    all_splits += part.splits;
    if (of.from_columns) continue;
    if (choice.in_registers)
      choice.architecture->gradient(work.stream(), choice.planes, {weights_of(work, part.block), accumulators},
                                    part.splits);
    else
      choice.architecture->accumulate_through_panel(
          work.stream(), {choice.planes, choice.shape, choice.online, part.panel, weights_of(work, part.block),
                          buffers.panel, accumulators, buffers.accumulators_of_columns});
  }
  finish(work, of.tower, sums, of.parts.empty() ? 0 : of.parts[0].splits, all_splits, sums);
}

void in_float64(const Work &work, const TowerGradient &of) {
  double *const sums = work.buffers.float64_accumulators;
  int32_t splits = 0;
  for (const GradientPart &part : of.parts) {
    const Block &block = part.block;
    const Pairs &elsewhere = block.columns == kAnchors ? work.memory_pairs : work.pairs;
    wide_gradient(work.stream(), work.tower(block.rows), work.tower(block.columns), work.pairs_with(block.columns),
                  work.roles.has_memory() ? elsewhere.classes : nullptr, work.problem.scale,
                  work.softmax(block.row_softmax), work.softmax(block.column_softmax), work.buffers.float64_panel,
                  float64_panel_elements(work), sums + splits * work.tower(of.tower).plane_size());
    ++splits;
  }
  finish(work, of.tower, sums, splits > 0 ? 1 : 0, splits, sums);
}

}  // namespace

void gradients(const Work &work) {
  for (const TowerGradient &of : work.gradients) {
    work.in_float32 ? in_float32(work, of) : in_float64(work, of);
    work.lane->gradient_ready[of.tower].record(work.stream());
  }
}

}  // namespace infonce::cuda::steps

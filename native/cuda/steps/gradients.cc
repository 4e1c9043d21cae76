// The gradients of a call: what the blocks add to each matrix's, in registers, through panels of weights or in float64,
// and then what finishes it.
#include "cuda/launch/wide.h"
#include "cuda/steps/steps.h"

namespace infonce::cuda::steps {
namespace {

// `splits` of the triangle, or of all if there is none; `all_splits` of all. `factor` of a row's accumulators, or null.
template <class Scalar>
void finish(const Work &work, int matrix, const Scalar *accumulators, int32_t splits, int32_t all_splits, Scalar *sums,
            const float *factor = nullptr) {
  const Choice &choice = work.choice;
  FinishTask<Scalar> task{};
  static_cast<Softmax &>(task) = softmax_of(work);
  task.tower = work.tower(matrix);
  task.has_pairs = matrix == choice.anchors || matrix == choice.keys;
  if (task.has_pairs) {
    const bool with_keys = matrix == choice.anchors && choice.keys != kNone;
    task.partners = work.tower(with_keys ? choice.keys : choice.anchors);
    task.memory_rows = work.memory_tower();
  } else {
    task.pairs = task.memory = {};
    task.rule.one_tower = false;
  }
  task.scale = work.problem.scale;
  task.accumulators = accumulators;
  task.splits = splits;
  task.all_splits = all_splits;
  task.factor = factor;
  task.sums = sums;
  task.gradient = work.gradient_of(matrix);
  task.radial = matrix == choice.anchors ? work.buffers.radial : nullptr;
  cuda::finish(work.stream(), task);
}

// Of the triangle, or of all.
int32_t first_splits(const MatrixGradient &of, int32_t of_triangle, int32_t all) {
  return !of.parts.empty() && of.parts[0].block.is_triangle() ? of_triangle : all;
}

void in_float32(const Work &work, const MatrixGradient &of) {
  const Buffers &buffers = work.buffers;
  const Choice &choice = work.choice;
  if (choice.flash && of.matrix == choice.anchors)
    return finish(work, of.matrix, buffers.flash_accumulators, choice.flash_splits, choice.flash_splits,
                  buffers.accumulators, buffers.softmaxes[0].weight);
  float *sums = buffers.accumulators;
  if (of.from_columns) sums = buffers.accumulators_of_columns + of.parts[0].of_columns;
  int32_t all_splits = 0;
  for (const GradientPart &part : of.parts) {
    float *const accumulators = sums + all_splits * work.tower(of.matrix).plane_size();
    all_splits += part.splits;
    if (of.from_columns) continue;
    if (choice.in_registers)
      choice.architecture->gradient(work.stream(), choice.planes, {weights_of(work, part.block), accumulators},
                                    part.splits);
    else
      choice.architecture->accumulate_through_panel(
          work.stream(), {choice.planes, choice.shape, choice.online, part.panel, weights_of(work, part.block),
                          buffers.panel, accumulators, buffers.accumulators_of_columns + part.of_columns});
  }
  const int32_t of_triangle = of.parts.empty() ? 0 : of.parts[0].splits;
  finish(work, of.matrix, sums, first_splits(of, of_triangle, all_splits), all_splits, sums);
}

void in_float64(const Work &work, const MatrixGradient &of) {
  const int memory = work.choice.memory;
  double *const sums = work.buffers.float64_accumulators;
  int32_t splits = 0;
  for (const GradientPart &part : of.parts) {
    const Block &block = part.block;
    const int elsewhere = block.is_triangle() ? memory : work.anchors();
    wide_gradient(work.stream(), work.tower(block.rows), work.tower(block.columns), work.pairs_of(block),
                  memory == kNone ? nullptr : work.pairs[elsewhere].classes, work.problem.scale,
                  work.softmax(block.row_softmax), work.softmax(block.column_softmax), work.buffers.float64_panel,
                  float64_panel_elements(work), sums + splits * work.tower(of.matrix).plane_size());
    ++splits;
  }
  finish(work, of.matrix, sums, first_splits(of, 1, splits), splits, sums);
}

}  // namespace

void gradients(const Work &work) {
  for (const MatrixGradient &of : work.gradients) {
    work.in_float32 ? in_float32(work, of) : in_float64(work, of);
    work.lane->gradient_ready[of.matrix].record(work.stream());
  }
}

}  // namespace infonce::cuda::steps

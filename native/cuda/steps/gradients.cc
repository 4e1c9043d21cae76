// The gradients of a call: what the blocks add to each matrix's, in registers, through panels of weights or in float64,
// and then what finishes it.
#include "cuda/launch/float64.h"
#include "cuda/launch/paired_negatives.h"
#include "cuda/steps/steps.h"

namespace infonce::cuda::steps {
namespace {

// What is summed up for a gradient: planes of accumulators, of the triangle first.
template <class Scalar> struct Sums {
  Scalar *planes;
  int32_t of_triangle, all;
  const float *factor = nullptr;  // of a row's accumulators; null: 1
};

template <class Scalar> void finish(const Work &work, int matrix, const Sums<Scalar> &sums, Scalar *to) {
  const Choice &choice = work.choice;
  FinishTask<Scalar> task{};
  static_cast<Softmax &>(task) = softmax_of(work);
  task.tower = work.tower(matrix);
  task.has_pairs = (matrix == choice.anchors || matrix == choice.keys) &&
                   (!is_sigmoid(work.problem) || work.has_sigmoids_of_pairs());
  task.row_loss = work.problem.softmaxes[0].row_loss;
  task.accumulators = sums.planes;
  task.splits = sums.of_triangle;
  task.all_splits = sums.all;
  PairRule rule = PairRule::kByRule;
  if (task.has_pairs) {
    const bool with_keys = matrix == choice.anchors && choice.keys != kNone;
    task.partners = work.tower(with_keys ? choice.keys : choice.anchors);
    task.memory_rows = work.memory_tower();
    task.of_keys = matrix == choice.keys;
    task.ranges = task.of_keys ? work.pairs_of_keys.apart : with_keys ? work.pairs[choice.keys].apart : nullptr;
    if (work.finds_pairs_by_range()) rule = PairRule::kByRange;
    // Counted apart is what the triangle is not; without one all counts alike.
    else if (!choice.has_triangle()) task.splits = sums.all;
  } else {
    task.pairs = task.memory = {};
    task.rule.one_tower = false;
    task.splits = sums.all;
  }
  task.counts_others = task.splits < task.all_splits;
  task.scale = work.problem.scale;
  task.smoothing = work.problem.softmaxes[0].label_smoothing;
  task.factor = sums.factor;
  task.sums = to;
  task.gradient = work.gradient_of(matrix);
  task.radial = matrix == choice.anchors ? work.buffers.radial : nullptr;
  task.nan_report = work.nan_report();
  const bool is_last = matrix == work.gradients.back().matrix;
  cuda::finish(work.stream(), rule, task,
               is_last && work.totals_go_along_with_gradients() ? totals_of(work) : TotalsTask{});
}

Sums<float> sum_in_float32(const Work &work, const MatrixGradient &of) {
  const Buffers &buffers = work.buffers;
  const Choice &choice = work.choice;
  if (choice.flash && of.matrix == choice.anchors)
    return {buffers.flash_accumulators, 0, choice.flash_splits, buffers.softmaxes[0].weight};
  Sums<float> sums = {buffers.accumulators, 0, 0};
  if (of.from_columns) sums.planes = buffers.accumulators_of_columns + of.parts[0].of_columns;
  for (const GradientPart &part : of.parts) {
    float *const accumulators = sums.planes + sums.all * work.tower(of.matrix).plane_size();
    sums.all += part.splits;
    if (part.block.is_triangle()) sums.of_triangle = part.splits;
    if (of.from_columns) continue;
    if (choice.in_registers)
      choice.architecture->gradient(work.stream(), choice.planes, {weights_of(work, part.block), accumulators},
                                    part.splits);
    else
      choice.architecture->accumulate_through_panel(
          work.stream(), {choice.planes, choice.shape, choice.terms(), part.panel, weights_of(work, part.block),
                          buffers.panel, accumulators, buffers.accumulators_of_columns + part.of_columns});
  }
  return sums;
}

Sums<double> sum_in_float64(const Work &work, const MatrixGradient &of) {
  const int memory = work.choice.memory;
  const double beta = work.problem.softmaxes[0].beta;
  Sums<double> sums = {work.buffers.float64_accumulators, 0, 0};
  for (const GradientPart &part : of.parts) {
    const Block &block = part.block;
    double *const accumulators = sums.planes + sums.all++ * work.tower(of.matrix).plane_size();
    const Direction *of_rows = work.softmax(block.row_softmax), *of_columns = work.softmax(block.column_softmax);
    if (is_sigmoid(work.problem)) {
      sigmoid_gradient(work.stream(), sigmoid_of(work, block), of_rows, of_columns, work.buffers.float64_panel,
                       float64_panel_elements(work), accumulators);
      continue;
    }
    const int elsewhere = block.is_triangle() ? memory : work.anchors();
    Float64Task task = float64_task_of(work, block);
    if (memory != kNone) task.elsewhere = work.pairs[elsewhere].classes;
    float64_gradient(work.stream(), task, of_rows, of_columns, work.buffers.float64_panel, float64_panel_elements(work),
                     accumulators);
    if (block.is_triangle()) sums.of_triangle = 1;
    if (beta == 0) continue;
    // Another plane, of the triangle as well: it is the only block.
    task.scale = work.problem.scale * beta;
    float64_gradient(work.stream(), task, work.weights(block.row_softmax), work.weights(block.column_softmax),
                     work.buffers.float64_panel, float64_panel_elements(work),
                     sums.planes + sums.all++ * work.tower(of.matrix).plane_size());
    if (block.is_triangle()) sums.of_triangle = 2;
  }
  const infonce_block *own = work.own_beside();
  if (own && of.matrix == work.anchors()) {
    OwnTask task = own_task_of(work);
    task.sums = sums.planes + sums.all++ * work.anchor_tower().plane_size();
    own_gradients(work.stream(), task);
    if (task.gradients) work.lane->gradient_ready[task.matrix].record(work.stream());
  } else if (own && of.matrix == own->candidates) {
    add_anchors_to_own(work.stream(), own_task_of(work), work.tower(of.matrix), sums.planes);
  }
  return sums;
}

// d loss / d scale is summed up from the anchors' gradient: what logits without an anchor bring to that of the keys is
// added, those of two keys being there twice, but once where one of them is of a part. After the anchors' own.
void count_keys_alone(const Work &work, const MatrixGradient &of, const Sums<double> &sums) {
  const Tower &keys = work.tower(of.matrix);
  const double *plane = sums.planes;
  if (const double *of_parts = work.has_gradient_parts ? work.buffers.sums_of_parts[of.matrix] : nullptr)
    add_radial(work.stream(), keys, of_parts, work.problem.scale * work.count_of_radial(), work.upstream,
               work.buffers.radial);
  for (const GradientPart &part : of.parts) {
    const double count = work.count_of_radial() / (part.block.is_triangle() ? 2.0 : 1.0);
    if (part.block.columns != work.anchors())
      add_radial(work.stream(), keys, plane, work.problem.scale * count, work.upstream, work.buffers.radial);
    plane += keys.plane_size();
  }
}

// A matrix's sums into those of parts, where the anchors' triangle comes first.
template <class Scalar> void add_to_parts(const Work &work, int matrix, bool has_triangle, const Sums<Scalar> &sums) {
  const Tower &tower = work.tower(matrix);
  AddSplitsTask<Scalar> task{};
  task.to_tower = work.phase.is_part ? work.anchors_of_call : tower;
  task.plane = tower.plane_size();
  task.factor = sums.factor;
  task.first_source = work.some_anchors.rows.empty() ? -1 : work.some_anchors.first;
  task.rows = tower.rows;
  const auto add = [&](int32_t first, int32_t end, double *to) {
    task.to = to;
    task.splits = sums.planes + first * task.plane;
    task.count = end - first;
    add_splits(work.stream(), task);
  };
  double *const first = work.buffers.sums_of_parts[matrix];
  add(0, sums.of_triangle, first);
  add(sums.of_triangle, sums.all, first + (has_triangle ? task.to_tower.plane_size() : 0));
}

template <class Scalar>
void finish_or_add(const Work &work, const MatrixGradient &of, const Sums<Scalar> &sums, Scalar *to) {
  const bool is_of_part = work.phase.is_part && of.matrix == work.anchors();
  double *const planes = work.buffers.sums_of_parts[of.matrix];
  const bool is_whole = !work.phase.is_part && work.has_gradient_parts && planes;
  const bool has_triangle = work.buffers.has_sums_of_triangle && of.matrix == work.problem.softmaxes[0].anchors;
  if (is_of_part || is_whole) add_to_parts(work, of.matrix, has_triangle, sums);
  if (is_of_part) return;
  if (is_whole) {
    const int32_t of_triangle = has_triangle ? 1 : 0;
    finish<double>(work, of.matrix, {planes, of_triangle, of_triangle + 1}, planes);
  } else {
    finish(work, of.matrix, sums, to);
  }
  if (!work.outputs[kGradients + of.matrix].on_device()) work.lane->gradient_ready[of.matrix].record(work.stream());
}

}  // namespace

void gradients(const Work &work) {
  const Buffers &buffers = work.buffers;
  if (work.phase.is_part && !work.has_gradient_parts)
    work.stream().fill(buffers.all_sums_of_parts, 0, buffers.sums_of_parts_bytes);
  for (const MatrixGradient &of : work.gradients) {
    if (work.in_float32) {
      const Sums<float> sums = sum_in_float32(work, of);
      finish_or_add(work, of, sums, of.from_columns ? sums.planes : buffers.accumulators);
    } else {
      const Sums<double> sums = sum_in_float64(work, of);
      if (work.choice.joins_sides && of.matrix == work.choice.keys) count_keys_alone(work, of, sums);
      if (work.is_smoothed()) add_smoothing(work, of.matrix, sums.planes, sums.of_triangle);
      add_further_positives(work, of.matrix, sums.planes, sums.of_triangle);
      finish_or_add(work, of, sums, buffers.float64_accumulators);
    }
  }
}

}  // namespace infonce::cuda::steps

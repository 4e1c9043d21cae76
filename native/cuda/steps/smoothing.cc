// Label smoothing: sums over all rows, and what they bring to the gradients.
#include "common/smoothing.h"

#include "cuda/steps/steps.h"

namespace infonce::cuda::steps {

void sum_smoothed(const Work &work) {
  const Buffers &buffers = work.buffers;
  const infonce_problem &problem = work.problem;
  work.for_each_matrix([&](int m) { sum_rows(work.stream(), {work.tower(m), nullptr, buffers.row_sums[m]}); });
  for (int s = 0; s < problem.softmax_count; ++s) {
    const Smoothing smoothing = smoothing_of(problem, s);
    const int anchors = problem.softmaxes[s].anchors;
    MeanLogitsTask task{};
    task.anchors = work.tower(anchors);
    for_each_candidate_matrix(problem, s, [&](int m) {
      task.sums[task.matrices++] = buffers.row_sums[m];
      task.among_anchors |= m == anchors;
      task.add += work.bias_sums[m];
    });
    task.scale = problem.scale;
    if (smoothing.positive_is_apart) task.positive_logit = buffers.pair_logits.first;
    else task.add -= problem.scale * problem.softmaxes[s].margin;
    task.candidates = smoothing.candidates;
    task.mean = buffers.mean_logits[s];
    mean_logits(work.stream(), task);
  }
}

void add_smoothing(const Work &work, int matrix, double *planes, int32_t of_triangle) {
  const Buffers &buffers = work.buffers;
  const infonce_problem &problem = work.problem;
  for (int s = 0; s < problem.softmax_count; ++s) {
    const int anchors = problem.softmaxes[s].anchors;
    const double *upstream = buffers.softmaxes[s].upstream;
    bool is_candidate = false;
    for_each_candidate_matrix(problem, s, [&](int candidates) { is_candidate |= candidates == matrix; });
    if (is_candidate) sum_rows(work.stream(), {work.tower(anchors), upstream, buffers.weighted_row_sums[anchors]});
    for_each_candidate_matrix(problem, s, [&](int candidates) {
      if (matrix != anchors && matrix != candidates) return;
      const Tower &tower = work.tower(matrix);
      SmoothingTask task{};
      task.tower = tower;
      task.each = smoothing_of(problem, s).of_candidate();
      task.upstream = upstream;
      if (matrix == anchors) task.candidates = buffers.row_sums[candidates];
      if (matrix == candidates) task.anchors = buffers.weighted_row_sums[anchors];
      task.accumulators = planes + (candidates == anchors ? 0 : of_triangle * tower.plane_size());
      cuda::add_smoothing(work.stream(), task);
    });
  }
}

}  // namespace infonce::cuda::steps

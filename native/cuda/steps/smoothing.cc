// Label smoothing: sums over all rows, and what they bring to the gradients.
#include <limits>

#include "cuda/steps/steps.h"

namespace infonce::cuda::steps {

void sum_smoothed(const Work &work) {
  const Buffers &buffers = work.buffers;
  const infonce_problem &problem = work.problem;
  work.for_each_matrix([&](int m) { sum_rows(work.stream(), {work.tower(m), nullptr, buffers.row_sums[m]}); });
  for (int s = 0; s < problem.softmax_count; ++s) {
    const Smoothing &smoothing = work.smoothing[s];
    const int anchors = problem.softmaxes[s].anchors;
    MeanLogitsTask task{};
    task.anchors = work.tower(anchors);
    for_each_candidate_matrix(problem, s, [&](int m) {
      if (work.choice.rows(m) == 0) return;  // all in parts
      task.sums[task.matrices++] = buffers.row_sums[m];
      task.among_anchors |= m == anchors;
      task.add += work.bias_sums[m];
    });
    task.scale = problem.scale;
    if (smoothing.positive_is_apart) task.positive_logit = buffers.pair_logits.first;
    else task.add -= problem.scale * problem.softmaxes[s].margin;
    task.further = buffers.logit_sums[s];
    task.candidates = smoothing.candidates;
    task.mean = buffers.mean_logits[s];
    mean_logits(work.stream(), task);
  }
}

void sum_smoothed_part(const Work &work) {
  const Buffers &buffers = work.buffers;
  const Block &block = work.choice.blocks[0];
  const double scale = work.problem.scale;
  const SomeAnchors &some = work.some_anchors;
  const int64_t all = std::numeric_limits<int64_t>::max();
  sum_rows(work.stream(), {work.tower(block.columns), nullptr, buffers.row_sums[block.columns]});
  add_logit_sums(
      work.stream(),
      {work.anchors_of_call, some.first, some.rows.empty() ? all : some.first + int64_t(some.rows.size()),
       buffers.row_sums[block.columns], scale, work.bias_sums[block.columns], buffers.logit_sums[block.row_softmax]});
  if (!work.has_columns_of_part()) return;
  sum_rows(work.stream(), {work.tower(block.rows), nullptr, buffers.row_sums[block.rows]});
  add_logit_sums(work.stream(), {work.tower(block.columns), 0, all, buffers.row_sums[block.rows], scale, 0,
                                 buffers.logit_sums_of_columns});
}

namespace {

// Of the rows of the part, or of the anchors that it meets.
void add_smoothing_of_part(const Work &work, int matrix, double *accumulators) {
  const Block &block = work.choice.blocks[0];
  const bool of_rows = matrix == block.rows;
  const int other = of_rows ? block.columns : block.rows;
  // Those of the block's rows and columns, as the problem has it.
  const infonce_block &given = work.problem.blocks[0];
  const auto add = [&](bool own_side, int softmax, const Direction *direction) {
    if (softmax == kNone) return;
    const double *upstream = direction->upstream;
    double *sum = own_side ? work.buffers.row_sums[other] : work.buffers.weighted_row_sums[other];
    sum_rows(work.stream(), {work.tower(other), own_side ? nullptr : upstream, sum});
    SmoothingTask task{};
    task.tower = work.tower(matrix);
    task.each = work.smoothing[softmax].of_candidate();
    task.upstream = upstream;
    (own_side ? task.candidates : task.anchors) = sum;
    task.accumulators = accumulators;
    cuda::add_smoothing(work.stream(), task);
  };
  add(of_rows, given.row_softmax, work.softmax(block.row_softmax));
  add(!of_rows, given.column_softmax, work.softmax(block.column_softmax));
}

}  // namespace

void add_smoothing(const Work &work, int matrix, double *planes, int32_t of_triangle) {
  if (work.phase.is_part) return add_smoothing_of_part(work, matrix, planes);
  const Buffers &buffers = work.buffers;
  const infonce_problem &problem = work.problem;
  for (int s = 0; s < problem.softmax_count; ++s) {
    const int anchors = problem.softmaxes[s].anchors;
    const double *upstream = buffers.softmaxes[s].upstream;
    bool is_candidate = false;
    for_each_candidate_matrix(problem, s, [&](int candidates) { is_candidate |= candidates == matrix; });
    if (is_candidate) sum_rows(work.stream(), {work.tower(anchors), upstream, buffers.weighted_row_sums[anchors]});
    for_each_candidate_matrix(problem, s, [&](int candidates) {
      if ((matrix != anchors && matrix != candidates) || work.choice.rows(candidates) == 0) return;
      const Tower &tower = work.tower(matrix);
      SmoothingTask task{};
      task.tower = tower;
      task.each = work.smoothing[s].of_candidate();
      task.upstream = upstream;
      if (matrix == anchors) task.candidates = buffers.row_sums[candidates];
      if (matrix == candidates) task.anchors = buffers.weighted_row_sums[anchors];
      task.accumulators = planes + (candidates == anchors ? 0 : of_triangle * tower.plane_size());
      cuda::add_smoothing(work.stream(), task);
    });
  }
}

}  // namespace infonce::cuda::steps

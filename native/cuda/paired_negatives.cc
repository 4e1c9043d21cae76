#include "cuda/paired_negatives.h"

#include "cuda/launch/launch.h"
#include "cuda/launch/paired_negatives.h"
#include "cuda/work.h"

namespace infonce::cuda {

void PairedNegatives::compute(const Work &work) const {
  const Direction &softmax = work.buffers.softmaxes[0];
  const infonce_problem &problem = work.problem;
  const int anchors = work.anchors(), keys = work.choice.keys, negatives = problem.blocks[0].candidates;
  PairedTask task{};
  task.problem = {anchors,
                  keys,
                  negatives,
                  work.tower(anchors).source,
                  work.tower(keys).source,
                  work.tower(negatives).source,
                  work.tower(anchors).source_stride,
                  work.tower(keys).source_stride,
                  work.tower(negatives).source_stride,
                  work.buffers.bias[keys],
                  work.rows(),
                  work.choice.rows(negatives),
                  problem.dim,
                  problem.scale,
                  scale_of(problem, problem.blocks[0]),
                  work.buffers.own_counts,
                  problem.normalize != 0,
                  problem.ranks != 0,
                  problem.softmaxes[0].margin};
  task.upstream = work.upstream;
  task.negatives = dots_;
  task.grad_anchors = work.gradient_of(anchors);
  task.grad_keys = work.gradient_of(keys);
  task.grad_negatives = work.gradient_of(negatives);
  task.loss = softmax.loss;
  task.above = softmax.all_above;
  task.radial = work.buffers.radial;
  task.report = work.buffers.report;
  paired_negatives(work.stream(), task);
  if (float *row_loss = work.outputs[kRowLoss].device)
    write_row_losses(work.stream(), softmax.loss, row_loss, work.rows());
  work.for_each_matrix([&](int m) { work.lane->gradient_ready[m].record(work.stream()); });
}

}  // namespace infonce::cuda

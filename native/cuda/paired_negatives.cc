#include "cuda/paired_negatives.h"

#include "cuda/launch/launch.h"
#include "cuda/launch/paired_negatives.h"
#include "cuda/work.h"

namespace infonce::cuda {

void PairedNegatives::compute(const Work &work) const {
  const Direction &softmax = work.buffers.softmaxes[0];
  const infonce_problem &problem = work.problem;
  PairedTask task{};
  task.problem = {work.tower(kAnchors).source,
                  work.tower(kKeys).source,
                  work.tower(kNegatives).source,
                  work.rows(),
                  work.choice.rows(kNegatives),
                  problem.dim,
                  problem.scale,
                  problem.normalize != 0,
                  problem.ranks != 0};
  task.upstream = work.upstream;
  task.negatives = dots_;
  task.grad_anchors = work.gradient_of(kAnchors);
  task.grad_keys = work.gradient_of(kKeys);
  task.grad_negatives = work.gradient_of(kNegatives);
  task.loss = softmax.loss;
  task.above = softmax.all_above;
  task.radial = work.buffers.radial;
  task.report = work.buffers.report;
  paired_negatives(work.stream(), task);
  if (float *row_loss = work.outputs[kRowLoss].device)
    write_row_losses(work.stream(), softmax.loss, row_loss, work.rows());
  for (const Event &ready : work.lane->gradient_ready) ready.record(work.stream());
}

}  // namespace infonce::cuda

// The loss of each row, and their reduction.
#include <algorithm>

#include "cuda/launch/float64.h"
#include "cuda/steps/steps.h"

namespace infonce::cuda::steps {

namespace {

LossesTask task_of(const Work &work) {
  LossesTask task{};
  task.anchors = work.anchor_tower();
  static_cast<Softmax &>(task) = softmax_of(work);
  task.online = work.choice.online;
  task.row_loss = work.outputs[kRowLoss].device;
  task.adds_sigmoids_of_pairs = work.has_sigmoids_of_pairs();
  task.sigmoid_bias = work.problem.bias;
  task.nan_report = work.nan_report();
  std::copy_n(work.buffers.further, work.problem.softmax_count, task.further);
  std::copy_n(work.smoothing, work.problem.softmax_count, task.smoothing);
  for (int s = 0; s < work.problem.softmax_count; ++s) task.multiplicity[s] = multiplicity_of_positive(work.problem, s);
  return task;
}

}  // namespace

void losses(Work *of) {
  const Work &work = *of;
  LossesTask task = task_of(work);
  if (is_sigmoid(work.problem)) return sigmoid_losses(work.stream(), task);
  const int32_t row_loss = work.problem.softmaxes[0].row_loss;
  if (row_loss == INFONCE_ROW_LOSS_DEBIASED) task.debiasing = debiasing_of(work.problem);
  if (work.has_terms()) task.further[0] = sum_all_terms(work);
  if (work.has_positive_weights()) {
    const Buffers &buffers = work.buffers;
    const double sigma = work.problem.softmaxes[0].mises_fisher_sigma;
    weigh_positives(work.stream(), {buffers.pair_logits.first, work.rows(), work.problem.scale, sigma,
                                    work.has_log_mean, work.positives_log_mean, buffers.positive_weights});
    task.positive_weights = buffers.positive_weights;
  }
  if (work.is_smoothed()) sum_smoothed(work);
  for (int s = 0; s < work.problem.softmax_count && work.is_smoothed(); ++s)
    if (task.smoothing[s].amount != 0) task.mean_logit[s] = work.buffers.mean_logits[s];
  cuda::losses(work.stream(), row_loss, work.sums, task,
               work.totals_go_along_with_losses() ? totals_of(work) : TotalsTask{});
  of->sums = {};
}

TotalsTask totals_of(const Work &work) {
  const Buffers &buffers = work.buffers;
  TotalsTask task{};
  task.rows = work.rows();
  task.ranks = work.problem.ranks != 0;
  for (int s = 0; s < work.problem.softmax_count; ++s) {
    task.loss[s] = buffers.softmaxes[s].loss;
    task.above[s] = buffers.softmaxes[s].all_above;
  }
  const bool has_first_logits = !has_own_candidates_alone(work.problem) && (task.ranks || !is_sigmoid(work.problem));
  task.first_logit = has_first_logits ? buffers.pair_logits.first : nullptr;
  task.radial = work.computes_gradient() ? buffers.radial : nullptr;
  task.loss_divisor = work.problem.reduction == INFONCE_REDUCTION_MEAN ? double(work.rows()) : 1;
  task.radial_divisor = work.problem.scale * work.count_of_radial();
  task.margin = has_own_candidates_alone(work.problem) ? 0 : work.problem.softmaxes[0].margin;
  for (int s = 0; s < work.problem.softmax_count && task.margin != 0; ++s) {
    const Smoothing &smoothing = work.smoothing[s];
    if (smoothing.amount != 0 && !smoothing.positive_is_apart) task.of_candidate[s] = smoothing.of_candidate();
    task.row_upstream[s] = buffers.softmaxes[s].upstream;
    task.rest_share[s] = buffers.softmaxes[s].rest_share;
  }
  task.upstream = work.upstream;
  task.sets_nan = work.nan_report() != nullptr;
  task.report = buffers.report;
  task.scalars = work.result->device_scalars;
  return task;
}

void totals(const Work &work) {
  if (work.totals_go_along_with_losses() || work.totals_go_along_with_gradients()) return;
  const Buffers &buffers = work.buffers;
  cuda::totals(work.stream(), totals_of(work));
  if (is_sigmoid(work.problem) && work.computes_gradient())
    sigmoid_bias(work.stream(), task_of(work), buffers.report, work.result->device_scalars);
}

}  // namespace infonce::cuda::steps

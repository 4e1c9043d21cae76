#include "cuda/call.h"

#include <limits>

#include "cuda/launch/simclr_logits.h"
#include "cuda/steps/steps.h"

namespace infonce::cuda {
namespace {

constexpr double kLog2E = 1.4426950408889634;

}  // namespace

Call::Call(const infonce_problem &problem, infonce_result *result, infonce_precision precision, Lane &lane, Part part,
           infonce_output logits)
    : work_{part, problem, result, &lane, Classes(problem)} {
  if (part == Part::kForward) work_.problem.gradient = 1, work_.problem.grad_output = {};
  work_.choice = choose(work_.problem, precision, !work_.classes.large.empty(), lane.stream.hardware());
  work_.in_float32 = work_.choice.in_float32;
  work_.in_float64 = work_.choice.in_float64;
  work_.rule = {work_.positives_are_anchors(), problem.softmaxes[0].positive == INFONCE_POSITIVE_FIRST_VIEW};
  work_.exponent = float(problem.scale * kLog2E);
  list_outputs(logits);
}

void Call::turn_backward(const infonce_upstream &upstream, infonce_result *result, Lane &lane) {
  work_.part = Part::kBackward;
  work_.problem.grad_output = upstream.grad_output;
  work_.problem.cancelled = upstream.cancelled;
  work_.result = result;
  work_.lane = &lane;
  work_.downloads = false;
  list_outputs({});
}

void Call::list_outputs(infonce_output logits) {
  for (Output &output : work_.outputs) output = {};
  const int64_t rows = work_.rows();
  const bool has_losses = work_.part == Part::kWhole || work_.part == Part::kForward;
  if (work_.part == Part::kLogits) work_.outputs[kLogits] = {logits, rows * (rows - 1)};
  if (has_losses && work_.problem.reduction == INFONCE_REDUCTION_NONE)
    work_.outputs[kRowLoss] = {work_.result->row_loss, rows};
  uint32_t wanted = 0;
  work_.for_each_matrix([&](int m) {
    const infonce_output &gradient = work_.result->gradients[m];
    if (!work_.computes_gradient() || !gradient.data) return;
    work_.outputs[kGradients + m] = {gradient, work_.size_of(m)};
    wanted |= 1u << m;
  });
  if (has_own_candidates(work_.problem)) wanted = 0;  // their kernel computes all of it
  work_.gradients = plan_gradients(work_.choice, wanted, work_.in_float32, work_.stream().hardware());

  // Every array that this part of the call reads or fills.
  const infonce_problem &problem = work_.problem;
  bool on_device = problem.grad_output.count == 0 || problem.grad_output.residence == INFONCE_ON_DEVICE;
  for (int m = 0; m < problem.matrix_count && work_.part != Part::kBackward; ++m)
    on_device &= problem.matrices[m].residence == INFONCE_ON_DEVICE;
  for (const Output &output : work_.outputs) on_device &= output.count == 0 || output.on_device();
  work_.returns_early = on_device && work_.result->device_scalars;
}

int64_t Call::size() {
  Workspace::Cursor cursor(nullptr);
  take_kept(cursor, &work_);
  take_scratch(cursor, &work_);
  return int64_t(cursor.used());
}

void Call::place(Workspace *kept) {
  const auto keep = [&](Workspace::Cursor &cursor) { take_kept(cursor, &work_); };
  if (kept && work_.part == Part::kForward) kept->lay_out(work_.stream(), keep);
  work_.lane->workspace.lay_out(work_.stream(), [&](Workspace::Cursor &cursor) {
    if (!kept) keep(cursor);
    take_scratch(cursor, &work_);
  });
}

void Call::begin(Lane *previous) {
  Lane &lane = *work_.lane;
  const bool is_backward = work_.part == Part::kBackward;
  if (is_backward && previous) lane.follow(*previous);
  lane.watch(work_.problem.cancelled, &work_.buffers.report->cancelled);
  lane.clock.mark(lane.stream, Clock::kBegin);
  steps::clear(work_);
  steps::upload(work_);
  lane.clock.mark(lane.stream, Clock::kUploaded);
  if (!is_backward && previous) lane.follow(*previous);
  lane.clock.mark(lane.stream, Clock::kOrdered);
  compute(previous);
  lane.clock.mark(lane.stream, Clock::kComputed);
  if (returns_early() || work_.problem.propagate_non_finite) steps::spoil(work_);
  if (!returns_early()) steps::queue_downloads(&work_);
}

void Call::compute(Lane *previous) {
  steps::measure_upstream(&work_);
  if (work_.part != Part::kBackward) steps::bring_rows_into_place(&work_);
  if (has_own_candidates(work_.problem)) {
    work_.paired_negatives.compute(work_);
    return steps::totals(work_);
  }
  if (work_.part != Part::kBackward) {
    steps::prepare(&work_);
    if (work_.part == Part::kLogits)
      return simclr_logits(work_.stream(), work_.anchor_tower(), work_.problem.scale, work_.outputs[kLogits].device);
    steps::find_pairs(&work_);
    steps::sum_exponentials(&work_, previous);
  }
  steps::losses(work_);
  steps::gradients(work_);
  steps::totals(work_);
}

BadRow Call::end() {
  if (returns_early()) return {};
  steps::download(work_);
  const BadRow bad = read_report();
  if (bad.row < 0 || !work_.problem.propagate_non_finite) return bad;
  constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
  work_.result->scalars = {kNaN, kNaN, kNaN, kNaN};
  return {};
}

BadRow Call::read_report() {
  const Report &report = *work_.lane->report.get();
  if (const int64_t row = report.first_bad_row(kUpstreamInput); row >= 0) return {INFONCE_IN_GRAD_OUTPUT, row};
  for (int m = 0; m < work_.problem.matrix_count; ++m)
    if (const int64_t row = report.first_bad_row(m); row >= 0) return {m, row};
  infonce_scalars &scalars = work_.result->scalars;
  const double grad_scale = work_.computes_gradient() ? report.scalars.grad_scale : scalars.grad_scale;
  scalars = report.scalars;
  scalars.grad_scale = grad_scale;
  return {};
}

}  // namespace infonce::cuda

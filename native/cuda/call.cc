#include "cuda/call.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "cuda/launch/simclr_logits.h"
#include "cuda/steps/steps.h"

namespace infonce::cuda {
Call::Call(const infonce_problem &problem, infonce_result *result, infonce_precision precision, Lane &lane, Phase phase,
           infonce_output logits, bool opened)
    : work_{phase, problem, result, &lane, Classes(problem, opened)} {
  if (phase.keeps) work_.problem.gradient = 1, work_.problem.grad_output = {};
  work_.choice = choose(work_.problem, precision, !work_.classes.large.empty(), lane.stream.hardware(), opened);
  work_.in_float32 = work_.choice.in_float32;
  work_.in_float64 = work_.choice.in_float64;
  work_.lacks_candidates = opened && needs_candidates(problem);
  work_.rule = {work_.positives_are_anchors(), problem.softmaxes[0].positive == INFONCE_POSITIVE_FIRST_VIEW};
  std::copy_n(work_.choice.towers, INFONCE_MOST_MATRICES, work_.buffers.towers);
  for (int s = 0; s < problem.softmax_count && work_.is_smoothed(); ++s) work_.smoothing[s] = smoothing_of(problem, s);
  for (int m = 0; m < problem.matrix_count && work_.is_smoothed(); ++m) {
    const infonce_matrix &matrix = problem.matrices[m];
    if (matrix.bias) work_.bias_sums[m] = std::accumulate(matrix.bias, matrix.bias + matrix.rows, 0.0);
  }
  list_outputs(logits);
}

Call::Call(const Call &opened, const infonce_part &part, const infonce_output &gradient, const BadRow &bad,
           infonce_result *result, Lane &lane, Phase phase)
    : work_(opened.work_) {
  const infonce_block block = work_.problem.blocks[part.block];
  const int matrix = matrix_for_part(block);
  const bool has_columns = columns_travel(work_.problem, part);
  const int64_t all = work_.choice.rows(block.anchors), anchor_count = part.anchor_count > 0 ? part.anchor_count : all;
  work_.phase = phase;
  work_.result = result;
  work_.result->gradients[matrix] = gradient;
  work_.matrix_of_part = block.candidates;
  work_.anchors_of_call = work_.tower(block.anchors);
  work_.bad_number = bad;
  if (has_columns) work_.columns = part.columns;
  if (anchor_count < all) take_some_anchors(block, part.first_anchor, anchor_count);
  work_.lane = &lane;
  work_.problem.cancelled = part.cancelled;
  work_.problem.reduction = INFONCE_REDUCTION_MEAN;  // no losses of rows
  // Arrays of the call itself may be gone.
  for (infonce_matrix &other : work_.problem.matrices) other.ids = nullptr, other.bias = nullptr;
  work_.problem.matrices[matrix] = part.candidates;
  work_.problem.matrix_count = std::max(work_.problem.matrix_count, matrix + 1);
  work_.problem.block_count = 1;
  work_.problem.blocks[0] = block;
  work_.problem.blocks[0].candidates = matrix;
  work_.problem.blocks[0].own = INFONCE_OWN_NONE;
  work_.problem.blocks[0].left_out &= ~uint32_t(INFONCE_LEAVE_OUT_OWN);
  if (const float *bias = work_.is_smoothed() ? part.candidates.bias : nullptr)
    work_.bias_sums[matrix] = std::accumulate(bias, bias + part.candidates.rows, 0.0);
  else work_.bias_sums[matrix] = 0;
  work_.choice = choose_for_part(work_.choice, block, part.candidates.rows, anchor_count,
                                 has_columns ? kOfColumns : kNone, lane.stream.hardware());
  work_.classes = Classes();
  work_.pairs[matrix] = work_.pairs_of_keys = {};
  work_.report_of_call = opened.work_.buffers.report;
  std::copy_n(work_.choice.towers, INFONCE_MOST_MATRICES, work_.buffers.towers);
  Tower &anchors = work_.buffers.towers[work_.anchors()];
  if (work_.some_anchors.rows.empty()) {
    anchors = work_.anchors_of_call;
  } else {
    anchors.source_stride = work_.anchors_of_call.source_stride;
    anchors.source = work_.anchors_of_call.source + part.first_anchor * anchors.source_stride;
    Tower &guide = work_.buffers.guides[work_.anchors()];
    guide.source += part.first_anchor * guide.source_stride;
    guide.rows = anchors.rows, guide.padded_rows = anchors.padded_rows;
    guide.order = nullptr, guide.views = 1;
  }
  list_outputs({});
}

Call::Call(const Call &recorded, infonce_result *result, Lane &lane, const int32_t *cancelled) : work_(recorded.work_) {
  work_.result = result;
  work_.lane = &lane;
  work_.problem.cancelled = cancelled;
  if (brings_row_loss()) work_.outputs[kRowLoss].caller = result->row_loss;
}

void Call::take_some_anchors(const infonce_block &block, int64_t first, int64_t count) {
  SomeAnchors &some = work_.some_anchors;
  some.first = first;
  some.rows.resize(size_t(count));
  for (int64_t r = 0; r < work_.rows(); ++r) {
    const int64_t i = work_.source_row(block.anchors, r) - first;
    if (i >= 0 && i < count) some.rows[size_t(i)] = int32_t(r);
  }
  bool &is_summed = work_.is_summed[block.row_softmax];
  some.are_summed = std::exchange(is_summed, false);
  some.softmax = work_.buffers.softmaxes[block.row_softmax];
  some.softmax.rank = work_.buffers.softmaxes[0].rank;
  some.weights = work_.buffers.softmaxes[1];
  some.positive_logit = work_.buffers.pair_logits.first;
  some.ids = work_.buffers.ids[block.anchors];
  some.targets = work_.buffers.target_numbers;
  some.most = work_.buffers.most;
}

void Call::read_rows(int32_t softmax, const infonce_travelling_rows &rows, Lane &lane) {
  work_.lane = &lane;
  steps::read_travelling_rows(work_, softmax, rows, bad_.row >= 0 || work_.bad_part.row >= 0);
}

void Call::join_rows(int32_t softmax, const infonce_travelling_rows &rows, const BadRow &bad, Lane &lane) {
  work_.lane = &lane;
  if (bad.row >= 0) work_.bad_part = bad;
  else steps::join_travelling_rows(&work_, softmax, rows);
}

void Call::turn(Phase phase, infonce_result *result, Lane &lane, const int32_t *cancelled) {
  work_.phase = phase;
  work_.problem.cancelled = cancelled;
  work_.result = result;
  work_.lane = &lane;
  work_.downloads = false;
  if (phase.has_losses) work_.has_gradient_parts = work_.has_bad_gradient_part = false;
  list_outputs({});
}

void Call::take_back(const Call &part) {
  const BadRow bad = part.bad_;
  if (part.work_.phase.adds_terms) {
    if (bad.row >= 0) work_.bad_part = bad;
  } else if (part.work_.phase.sums) {
    std::copy_n(part.work_.is_summed, INFONCE_MOST_SOFTMAXES, work_.is_summed);
    work_.lacks_candidates = false;
    if (bad.row >= 0) work_.bad_part = bad;
  } else {
    work_.has_gradient_parts = true;
    work_.has_bad_gradient_part |= bad.row >= 0;
  }
}

void Call::list_outputs(infonce_output logits) {
  for (Output &output : work_.outputs) output = {};
  const int64_t rows = work_.rows();
  if (work_.phase.is_logits) work_.outputs[kLogits] = {logits, rows * (rows - 1)};
  if (work_.phase.returns_losses && work_.problem.reduction == INFONCE_REDUCTION_NONE)
    work_.outputs[kRowLoss] = {work_.result->row_loss, rows};
  uint32_t wanted = 0;
  work_.for_each_matrix([&](int m) {
    if (!work_.computes_gradient()) return;
    // A part adds to that of the anchors.
    const bool adds = work_.phase.is_part && m == work_.anchors();
    const infonce_output &gradient = work_.result->gradients[m];
    if (!adds && !gradient.data) return;
    if (!adds) work_.outputs[kGradients + m] = {gradient, work_.size_of(m)};
    wanted |= 1u << m;
  });
  if (has_own_candidates_alone(work_.problem)) wanted = 0;  // their kernel computes all of it
  if (work_.choice.own != kNone) wanted &= ~(1u << work_.choice.own);
  work_.gradients = plan_gradients(work_.choice, wanted, work_.in_float32, work_.stream().hardware());

  // Every array that this phase of the call reads or fills.
  const infonce_problem &problem = work_.problem;
  bool on_device = problem.grad_output.count == 0 || problem.grad_output.residence == INFONCE_ON_DEVICE;
  for (int m = 0; m < problem.matrix_count && work_.phase.prepares; ++m)
    on_device &= problem.matrices[m].residence == INFONCE_ON_DEVICE &&
                 (!problem.matrices[m].guide || problem.matrices[m].guide_residence == INFONCE_ON_DEVICE);
  for (const Output &output : work_.outputs) on_device &= output.count == 0 || output.on_device();
  const bool is_alone = work_.phase.returns_losses == work_.phase.sums;
  work_.returns_early = is_alone && on_device && work_.result->device_scalars;
}

int64_t Call::size() {
  Workspace::Cursor cursor(nullptr);
  take_kept(cursor, &work_);
  take_scratch(cursor, &work_);
  return int64_t(cursor.used());
}

void Call::place_sums_of_parts(Workspace *workspace, Lane &lane) {
  workspace->lay_out(lane.stream, [&](Workspace::Cursor &cursor) { take_sums_of_parts(cursor, &work_); });
}

void Call::place(Workspace *kept) {
  const auto keep = [&](Workspace::Cursor &cursor) { take_kept(cursor, &work_); };
  const bool is_first = work_.phase.prepares && !work_.phase.is_part;
  if (is_first && work_.phase.keeps) kept->lay_out(work_.stream(), keep);
  work_.lane->workspace.lay_out(work_.stream(), [&](Workspace::Cursor &cursor) {
    if (is_first && !work_.phase.keeps) keep(cursor);
    take_scratch(cursor, &work_);
  });
}

void Call::begin(Lane *previous) {
  Lane &lane = *work_.lane;
  const bool is_later = !work_.phase.prepares || work_.phase.is_part;
  if (is_later && previous) lane.follow(*previous);
  lane.watch(work_.problem.cancelled, &work_.buffers.report->cancelled);
  lane.clock.mark(lane.stream, Clock::kBegin);
  steps::clear(work_);
  steps::upload(work_);
  lane.clock.mark(lane.stream, Clock::kUploaded);
  if (!is_later && previous) lane.follow(*previous);
  lane.clock.mark(lane.stream, Clock::kOrdered);
  queue_kernels(previous);
  if (!returns_early()) steps::queue_downloads(&work_);
}

void Call::queue_kernels(Lane *previous) {
  compute(previous);
  work_.lane->clock.mark(work_.stream(), Clock::kComputed);
  if (work_.sets_nan() && !work_.asks_for_bad_rows()) steps::fill_with_nan(work_);
}

Graph Call::record() {
  steps::upload(work_);
  work_.stream().synchronize();
  Graph graph(work_.stream(), [this] {
    steps::clear(work_);
    queue_kernels(nullptr);
  });
  // Of what was uploaded a repetition needs the order of rows alone.
  Classes classes;
  classes.order = std::move(work_.classes.order);
  work_.classes = std::move(classes);
  return graph;
}

void Call::begin(const Graph &graph, Lane *previous) {
  Lane &lane = *work_.lane;
  // No word on the device ends it: the repetition behind it has the same one.
  lane.watch(work_.problem.cancelled, nullptr);
  lane.clock.mark(lane.stream, Clock::kBegin);
  lane.clock.mark(lane.stream, Clock::kUploaded);
  if (previous) lane.follow(*previous);
  lane.clock.mark(lane.stream, Clock::kOrdered);
  lane.stream.launch(graph.executable());
  lane.clock.mark(lane.stream, Clock::kComputed);
  if (!returns_early()) steps::queue_downloads(&work_);
}

bool Call::brings_rows() const {
  const infonce_result &result = *work_.result;
  return brings_row_loss() || std::any_of(result.rows, result.rows + INFONCE_MOST_SOFTMAXES,
                                          [](const infonce_row_results &rows) { return rows.loss || rows.above; });
}

void Call::compute(Lane *previous) {
  const Phase &phase = work_.phase;
  if (phase.has_losses) steps::measure_upstream(&work_);
  steps::bring_rows_into_place(&work_);
  if (has_own_candidates_alone(work_.problem)) {
    work_.paired_negatives.compute(work_);
    return steps::totals(work_);
  }
  if (phase.prepares) steps::prepare(&work_);
  if (phase.is_logits)
    return simclr_logits(work_.stream(), work_.anchor_tower(), work_.problem.scale, work_.outputs[kLogits].device);
  if (phase.prepares && !phase.is_part) steps::find_pairs(&work_);
  if (phase.sums) steps::sum_exponentials(&work_, previous);
  if (phase.adds_terms) steps::sum_terms_of_part(work_);
  if (phase.has_losses) steps::losses(&work_);
  if (phase.has_gradients) steps::gradients(work_);
  if (!phase.is_part && (phase.returns_losses || phase.has_gradients)) steps::totals(work_);
}

BadRow Call::end() {
  if (returns_early()) return {};
  steps::download(work_);
  bad_ = bad_row();
  if (bad_.row >= 0 && !propagates()) return bad_;
  if (!work_.phase.is_part) read_scalars();
  steps::read_rows(work_, bad_.row >= 0);
  if (work_.phase.is_part && work_.phase.sums) steps::deliver_sums_of_part(work_, bad_.row >= 0);
  if (work_.phase.adds_terms) steps::deliver_terms_of_part(work_, bad_.row >= 0);
  if (work_.opens_gradient()) steps::settle_upstream(&work_);
  return {};
}

BadRow Call::bad_row() const {
  const Report &report = *work_.lane->report.get();
  if (const int64_t row = report.first_bad_row(kUpstreamInput); row >= 0) return {INFONCE_IN_GRAD_OUTPUT, row};
  for (int m = 0; m < work_.problem.matrix_count; ++m)
    if (const int64_t row = report.first_bad_row(m); row >= 0)
      return {work_.phase.is_part && m != work_.anchors() ? work_.matrix_of_part : m, row};
  for (int m = 0; m < work_.problem.matrix_count; ++m)
    if (const int64_t row = report.first_bad_row(kGuideInputs + m); row >= 0) {
      const int matrix = work_.phase.is_part && m != work_.anchors() ? work_.matrix_of_part : m;
      return {INFONCE_GUIDE_OF + matrix, row};
    }
  return {};
}

void Call::read_scalars() {
  constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
  infonce_scalars &scalars = work_.result->scalars;
  const double grad_scale = scalars.grad_scale, grad_bias = scalars.grad_bias;
  scalars = work_.lane->report.get()->scalars;
  if (bad_.row >= 0) scalars = {kNaN, kNaN, kNaN, kNaN, kNaN};
  else if (!work_.computes_gradient()) scalars.grad_scale = grad_scale, scalars.grad_bias = grad_bias;
}

}  // namespace infonce::cuda

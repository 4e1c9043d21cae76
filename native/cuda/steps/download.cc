// What a call brings back. Copies to page-locked arrays are queued with the kernels; pageable ones go through staging
// buffers, which the processor empties at the end of the call.
#include <cmath>
#include <limits>
#include <vector>

#include "cuda/steps/steps.h"

namespace infonce::cuda::steps {
namespace {

// Non-finite input turns the arrays into NaN after their kernels.
cudaEvent_t ready(const Work &work, int output) {
  const bool is_gradient = output >= kGradients && !work.problem.propagate_non_finite;
  return (is_gradient ? work.lane->gradient_ready[output - kGradients] : work.lane->all_ready).get();
}

size_t bytes_of(const Output &output) { return size_t(output.count) * sizeof(float); }

}  // namespace

// On the device, also what goes to the host: there the next call may have filled the same arrays already.
void fill_with_nan(const Work &work) {
  Results results = {0, {}, {}, work.result->device_scalars};
  for (const Output &output : work.outputs)
    if (output.count > 0) {
      results.values[results.arrays] = output.device;
      results.count[results.arrays++] = output.count;
    }
  if (results.arrays == 0 && !results.scalars) return;
  cuda::fill_with_nan(work.stream(), work.buffers.report, results);
  if (work.report_of_call) cuda::fill_with_nan(work.stream(), work.report_of_call, results);
}

void ask_for_report(const Work &work) {
  work.stream().copy(work.lane->report.get(), work.buffers.report, sizeof(Report), cudaMemcpyDeviceToHost);
}

// One gradient is on its way while the next are computed.
void queue_downloads(Work *work) {
  Lane &lane = *work->lane;
  ask_for_report(*work);
  lane.all_ready.record(lane.stream);
  for (int o = 0; o < kOutputs; ++o) {
    Output &output = work->outputs[o];
    if (output.count == 0 || output.on_device()) continue;
    work->downloads = true;
    output.is_waiting = !is_page_locked(output.caller.data);
    if (output.is_waiting) continue;
    lane.downloads.follow(ready(*work, o));
    lane.downloads.copy(output.caller.data, output.device, bytes_of(output), cudaMemcpyDeviceToHost);
  }
}

void download(const Work &work) {
  Lane &lane = *work.lane;
  for (int o = 0; o < kOutputs; ++o) {
    const Output &output = work.outputs[o];
    if (output.is_waiting)
      lane.staging.download(lane.stream, lane.downloads, ready(work, o), output.caller.data, output.device,
                            bytes_of(output));
  }
  if (work.downloads) lane.downloads.follow(lane.all_ready.get());
  lane.clock.mark(work.downloads ? lane.downloads : lane.stream, Clock::kDownloaded);
  lane.stream.synchronize();
  if (work.downloads) lane.downloads.synchronize();
  lane.clock.read(work.result);
}

// By row of the input, in float64.
void read_rows(const Work &work, bool are_bad) {
  if (!work.phase.returns_losses || work.result->device_scalars) return;
  const int64_t rows = work.rows();
  const auto fetch = [&](auto *vector, const auto *from) {
    vector->resize(size_t(rows));
    work.lane->copy(vector->data(), from, vector->size() * sizeof *from, cudaMemcpyDeviceToHost);
  };
  std::vector<double> losses, first_logits;
  std::vector<int32_t> above;
  for (int s = 0; s < work.problem.softmax_count; ++s) {
    const Direction &softmax = work.buffers.softmaxes[s];
    const infonce_row_results &wanted = work.result->rows[s];
    if (wanted.loss) fetch(&losses, softmax.loss);
    for (int64_t r = 0; r < rows && wanted.loss; ++r)
      wanted.loss[work.source_row(work.anchors(), r)] = are_bad ? std::numeric_limits<double>::quiet_NaN() : losses[r];
    if (!wanted.above || !work.problem.ranks) continue;
    fetch(&above, softmax.all_above);
    first_logits.clear();
    // With candidates of their own all anchors have a positive.
    if (work.buffers.pair_logits.first) fetch(&first_logits, work.buffers.pair_logits.first);
    for (int64_t r = 0; r < rows; ++r) {
      const bool has_positive = !are_bad && (first_logits.empty() || first_logits[r] < INFINITY);
      wanted.above[work.source_row(work.anchors(), r)] = has_positive ? above[r] : -1;
    }
  }
}

}  // namespace infonce::cuda::steps

// What a call brings back. Copies to page-locked arrays are queued with the kernels; pageable ones go through staging
// buffers, which the processor empties at the end of the call.
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
void spoil(const Work &work) {
  Results results = {0, {}, {}, work.result->device_scalars};
  for (const Output &output : work.outputs)
    if (output.count > 0) {
      results.values[results.arrays] = output.device;
      results.count[results.arrays++] = output.count;
    }
  if (results.arrays > 0 || results.scalars) cuda::spoil(work.stream(), work.buffers.report, results);
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

}  // namespace infonce::cuda::steps

// Graphs that a caller captures of its stream, into which a call goes that waits for nothing.
#pragma once

#include <cuda_runtime.h>

#include <atomic>
#include <memory>
#include <stdexcept>

namespace infonce::cuda {

struct Work;

// A call cannot be part of a graph; the message says why, and what to do.
class CannotBeCaptured : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Whether work queued in the caller's stream would become part of a graph; null if the stream is not the caller's.
bool is_capturing(cudaStream_t stream_of_caller);

// Throws CannotBeCaptured if the host brings something to a call or waits for it, or the capture has failed.
void check_capture(const Work &work);
// The same of a graph of ours, whose rows and gradients are on the device. What the host brings is brought once.
void check_repeatable(const Work &work);

// Becomes true once the graph that is captured of a stream, and all that was made of it, are destroyed; null if that cannot be
// known.
std::shared_ptr<const std::atomic<bool>> end_of_graph(cudaStream_t stream);

// While it lives, this thread may allocate memory though a graph is being captured.
class MayAllocate {
 public:
  MayAllocate() { exchange(); }
  ~MayAllocate() { exchange(); }
  MayAllocate(const MayAllocate &) = delete;
  MayAllocate &operator=(const MayAllocate &) = delete;

 private:
  void exchange() { cudaThreadExchangeStreamCaptureMode(&mode_); }

  cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;
};

}  // namespace infonce::cuda

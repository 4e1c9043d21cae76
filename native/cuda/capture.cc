#include "cuda/capture.h"

#include "cuda/work.h"

namespace infonce::cuda {
namespace {

// Arrays that the host brings along.
bool has_host_arrays(const infonce_problem &problem) {
  for (int m = 0; m < problem.matrix_count; ++m) {
    const infonce_matrix &matrix = problem.matrices[m];
    if (matrix.ids || matrix.bias || matrix.counts) return true;
  }
  for (int s = 0; s < problem.softmax_count; ++s)
    if (problem.softmaxes[s].targets || problem.softmaxes[s].first_positives) return true;
  return false;
}

// With an invalidated capture, the default stream while any other is captured.
cudaStreamCaptureStatus status_of(cudaStream_t stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  if (cudaStreamIsCapturing(stream, &status) == cudaSuccess) return status;
  return cudaGetLastError() == cudaErrorStreamCaptureImplicit ? cudaStreamCaptureStatusInvalidated : status;
}

}  // namespace

bool is_capturing(cudaStream_t stream_of_caller) {
  return stream_of_caller && status_of(stream_of_caller) != cudaStreamCaptureStatusNone;
}

void check_capture(const Work &work) {
  if (status_of(work.stream().handle()) != cudaStreamCaptureStatusActive)
    throw CannotBeCaptured(
        "nothing can be captured into a graph: the capture of the context's stream has failed, or it is the default "
        "stream"
        " while another one is captured; end the capture, and give the context a stream of its own");
  if (has_host_arrays(work.problem) || work.classes.are_brought())
    throw CannotBeCaptured(
        "a call with labels, ids, biases, counts or targets cannot be captured into a graph, because the host brings "
        "them:"
        " end the capture, and call outside of it");
  if (!work.returns_early)
    throw CannotBeCaptured(
        "a call that waits for its results cannot be captured into a graph: give all arrays and device_scalars in "
        "memory of"
        " the device");
  if (work.in_float32 && work.in_float64)
    throw CannotBeCaptured(
        "a call without normalisation cannot be captured into a graph, because the host reads how long rows are: end "
        "the"
        " capture, and call outside of it");
}

}  // namespace infonce::cuda

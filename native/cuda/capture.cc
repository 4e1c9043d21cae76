#include "cuda/capture.h"

#include <string>

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

cudaError_t find_graph(cudaStream_t stream, cudaGraph_t *graph) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
#if CUDART_VERSION >= 13000
  return cudaStreamGetCaptureInfo(stream, &status, nullptr, graph, nullptr, nullptr, nullptr);
#else
  return cudaStreamGetCaptureInfo_v2(stream, &status, nullptr, graph);
#endif
}

constexpr const char *kHostReads = "the host reads a value while such a call runs, which a graph cannot wait for";

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

void check_repeatable(const Work &work) {
  const infonce_problem &problem = work.problem;
  bool on_device = true;
  work.for_each_matrix([&](int m) { on_device &= problem.matrices[m].residence == INFONCE_ON_DEVICE; });
  work.for_each_brought_guide([&](int m) { on_device &= problem.matrices[m].guide_residence == INFONCE_ON_DEVICE; });
  for (int m = 0; m < problem.matrix_count; ++m) {
    const Output &gradient = work.outputs[kGradients + m];
    on_device &= gradient.count == 0 || gradient.on_device();
  }
  if (!on_device)
    throw CannotBeCaptured("rows and gradients in the host's memory: a graph has them in memory of the device");
  if (!work.in_float32 || !work.in_float64) return;
  if (problem.normalize)
    throw CannotBeCaptured(std::string("classes of many rows, whose sums may have to be in float64: ") + kHostReads);
  throw CannotBeCaptured(std::string("rows without normalisation, whose lengths decide how they are computed: ") +
                         kHostReads);
}

std::shared_ptr<const std::atomic<bool>> end_of_graph(cudaStream_t stream) {
  using Flag = std::atomic<bool>;
  cudaGraph_t graph = nullptr;
  auto flag = std::make_shared<Flag>(false);
  auto held = std::make_unique<std::shared_ptr<Flag>>(flag);
  // It may be called on any thread, and must not call the runtime.
  const auto set = [](void *memory) {
    const std::unique_ptr<std::shared_ptr<Flag>> owned(static_cast<std::shared_ptr<Flag> *>(memory));
    **owned = true;
  };
  cudaUserObject_t object = nullptr;
  if (find_graph(stream, &graph) == cudaSuccess && graph &&
      cudaUserObjectCreate(&object, held.get(), set, 1, cudaUserObjectNoDestructorSync) == cudaSuccess) {
    held.release();
    if (cudaGraphRetainUserObject(graph, object, 1, cudaGraphUserObjectMove) == cudaSuccess) return flag;
    cudaUserObjectRelease(object, 1);
  }
  cudaGetLastError();
  return nullptr;
}

}  // namespace infonce::cuda

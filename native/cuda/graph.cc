#include "cuda/graph.h"

#include "cuda/error.h"

namespace infonce::cuda {
namespace {

// Of a capture; the stream is as before it.
class Captured {
 public:
  explicit Captured(cudaStream_t stream) : stream_(stream) {
    // The driver may load a kernel meanwhile, which the other modes refuse.
    check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeRelaxed), "capturing a graph");
  }
  ~Captured() {
    if (stream_) cudaStreamEndCapture(stream_, &graph_);
    if (graph_) cudaGraphDestroy(graph_);
    cudaGetLastError();
  }
  Captured(const Captured &) = delete;
  Captured &operator=(const Captured &) = delete;

  cudaGraph_t end() {
    check(cudaStreamEndCapture(std::exchange(stream_, nullptr), &graph_), "capturing a graph");
    return graph_;
  }

 private:
  cudaStream_t stream_;
  cudaGraph_t graph_ = nullptr;
};

}  // namespace

Graph::Graph(const Stream &stream, const std::function<void()> &queue) {
  Captured captured(stream.handle());
  queue();
  check(cudaGraphInstantiate(&executable_, captured.end(), 0), "making a graph");
}

Graph::~Graph() {
  if (executable_ && cudaGraphExecDestroy(executable_) != cudaSuccess) cudaGetLastError();
}

}  // namespace infonce::cuda

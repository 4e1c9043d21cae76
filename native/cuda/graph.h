// Work that was captured of a stream of ours, to be launched as often as wanted.
#pragma once

#include <cuda_runtime.h>

#include <functional>
#include <utility>

#include "cuda/stream.h"

namespace infonce::cuda {

class Graph {
 public:
  Graph() = default;
  // What `queue` queues in the stream, none of which is done.
  Graph(const Stream &stream, const std::function<void()> &queue);
  ~Graph();
  Graph(Graph &&other) noexcept : executable_(std::exchange(other.executable_, nullptr)) {}
  Graph &operator=(Graph &&other) noexcept {
    std::swap(executable_, other.executable_);
    return *this;
  }

  cudaGraphExec_t executable() const { return executable_; }

 private:
  cudaGraphExec_t executable_ = nullptr;
};

}  // namespace infonce::cuda

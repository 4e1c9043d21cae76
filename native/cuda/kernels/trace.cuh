// Every kernel begins by saying which it is, in memory that the host can read when the device has failed; blocks of
// long kernels then ask whether their call was cancelled.
#pragma once

#include <cstdint>

namespace infonce::cuda {

struct Trace {
  int32_t *started;          // page-locked host memory
  const int32_t *cancelled;  // on the device; null: the call cannot be cancelled
  int32_t kernel;

#ifdef __CUDACC__
  __device__ void mark() const {
    if (blockIdx.x == 0 && blockIdx.y == 0 && threadIdx.x == 0) *static_cast<volatile int32_t *>(started) = kernel;
  }
  // The same for all threads of a block, which all have to ask. One of them reads: the word may change meanwhile.
  __device__ bool is_cancelled() const {
    if (!cancelled) return false;
    return __syncthreads_or(threadIdx.x == 0 && *static_cast<const volatile int32_t *>(cancelled) != 0);
  }
#endif
};

}  // namespace infonce::cuda

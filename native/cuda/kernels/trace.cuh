// Every kernel says which it is, in memory that the host can read when the device has failed, unless the context is to
// do without; blocks of long kernels ask whether their call was cancelled.
#pragma once

#include <cstdint>

namespace infonce::cuda {

struct Trace {
  int32_t *started;          // page-locked host memory; null: nobody asks
  const int32_t *cancelled;  // on the device; null: the call cannot be cancelled
  int32_t kernel;
  uint32_t first_block;  // of a launch that is a part

#ifdef __CUDACC__
  // By thread 0 of a block or, where something waits for what it has written, by one that nothing waits for.
  __device__ void mark(unsigned by_thread = 0) const {
    if (blockIdx.x == 0 && blockIdx.y == 0 && threadIdx.x == by_thread && started)
      *static_cast<volatile int32_t *>(started) = kernel;
  }
  __device__ unsigned block() const { return first_block + blockIdx.x; }
  // The same for all threads of a block, which all have to ask. One of them reads: the word may change meanwhile.
  __device__ bool is_cancelled() const {
    if (!cancelled) return false;
    return __syncthreads_or(threadIdx.x == 0 && *static_cast<const volatile int32_t *>(cancelled) != 0);
  }
#endif
};

}  // namespace infonce::cuda

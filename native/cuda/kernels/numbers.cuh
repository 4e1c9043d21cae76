// Arrays of numbers that several streams of the device work on in turn.
#pragma once

#include <cstdint>

#include "cuda/kernels/trace.cuh"

namespace infonce::cuda {

constexpr int kNumbersOfBlock = 256;

// A number a thread. `from` may be null.
__global__ void __launch_bounds__(kNumbersOfBlock)
    combine_numbers(Trace trace, float *to, const float *from, int64_t count, float factor) {
  trace.mark();
  const int64_t i = int64_t(trace.block()) * kNumbersOfBlock + threadIdx.x;
  if (i < count) to[i] = (from ? to[i] + from[i] : to[i]) * factor;
}

}  // namespace infonce::cuda

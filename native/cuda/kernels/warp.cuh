// Sums over the lanes of a warp, in an order that is always the same; every lane gets the result.
#pragma once

#include <cstdint>

namespace infonce::cuda {

constexpr int kWarp = 32;
constexpr uint32_t kAllLanes = 0xffffffffu;

template <class T> __device__ __forceinline__ T warp_sum(T value) {
#pragma unroll
  for (int lane = kWarp / 2; lane > 0; lane /= 2) value += __shfl_xor_sync(kAllLanes, value, lane);
  return value;
}

template <class T> __device__ __forceinline__ T warp_max(T value) {
#pragma unroll
  for (int lane = kWarp / 2; lane > 0; lane /= 2) value = max(value, __shfl_xor_sync(kAllLanes, value, lane));
  return value;
}

// count += kStep if a > b, in two instructions: the compiler takes three.
template <int kStep = 1> __device__ __forceinline__ void count_if_above(int32_t &count, float a, float b) {
  asm("{\n.reg .pred above;\nsetp.gt.f32 above, %1, %2;\n@above add.s32 %0, %0, %3;\n}"
      : "+r"(count)
      : "f"(a), "f"(b), "n"(kStep));
}

}  // namespace infonce::cuda

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

}  // namespace infonce::cuda

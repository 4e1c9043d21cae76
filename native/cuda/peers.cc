#include "cuda/peers.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <mutex>
#include <set>
#include <utility>

#include "cuda/current_device.h"

namespace infonce::cuda {
namespace {

void let_reach(int device, int other) {
  int can = 0;
  if (cudaDeviceCanAccessPeer(&can, device, other) == cudaSuccess && can) {
    const CurrentDevice current(device);
    // Another library may have done so before, which is an error that the runtime keeps.
    cudaDeviceEnablePeerAccess(other, 0);
  }
  cudaGetLastError();
}

}  // namespace

void let_reach_each_other(int one, int other) {
  static std::mutex &mutex = *new std::mutex;
  static auto &known = *new std::set<std::pair<int, int>>;
  if (one == other) return;
  const std::lock_guard<std::mutex> lock(mutex);
  if (!known.insert(std::minmax(one, other)).second) return;
  let_reach(one, other);
  let_reach(other, one);
}

}  // namespace infonce::cuda

#include "cuda/peers.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <mutex>
#include <set>
#include <utility>

#include "cuda/current_device.h"

namespace infonce::cuda {
namespace {

// -1: the host.
int device_of(const void *memory) {
  cudaPointerAttributes attributes{};
  if (cudaPointerGetAttributes(&attributes, memory) == cudaSuccess && attributes.type == cudaMemoryTypeDevice)
    return attributes.device;
  cudaGetLastError();
  return -1;
}

void let_reach(int device, int other) {
  int can = 0;
  if (cudaDeviceCanAccessPeer(&can, device, other) == cudaSuccess && can) {
    const CurrentDevice current(device);
    // Somebody else in the process may have done so before, which is an error that says so.
    cudaDeviceEnablePeerAccess(other, 0);
  }
  cudaGetLastError();
}

}  // namespace

void let_devices_meet(const void *one, const void *other) {
  static auto &mutex = *new std::mutex;
  static auto &known = *new std::set<std::pair<int, int>>;
  const std::pair<int, int> devices = std::minmax({device_of(one), device_of(other)});
  if (devices.first < 0 || devices.first == devices.second) return;
  const std::lock_guard<std::mutex> lock(mutex);
  if (!known.insert(devices).second) return;
  let_reach(devices.first, devices.second);
  let_reach(devices.second, devices.first);
}

}  // namespace infonce::cuda

#include "cuda/device_memory.h"

#include <utility>

#include "common/call.h"
#include "cuda/error.h"

namespace infonce::cuda {
namespace {

void free_now(void *memory) {
  if (cudaFree(memory) != cudaSuccess) cudaGetLastError();
}

}  // namespace

int64_t available_memory() {
  size_t available = 0, all = 0;
  check(cudaMemGetInfo(&available, &all), "asking for the device's memory");
  return int64_t(available);
}

void *allocate(size_t bytes) {
  void *memory = nullptr;
  const cudaError_t code = cudaMalloc(&memory, bytes);
  if (code == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    throw OutOfMemory(int64_t(bytes), available_memory());
  }
  check(code, "allocating memory on the device");
  return memory;
}

DeviceMemory::~DeviceMemory() {
  for (const auto &[bytes, idle] : idle_) free_now(idle.memory);
  for (const auto &[memory, bytes] : taken_) free_now(memory);
}

// A block of the size that is wanted, or little larger.
void *DeviceMemory::take(size_t bytes) {
  const size_t most = bytes + bytes / 8;
  for (auto found = idle_.lower_bound(bytes); found != idle_.end() && found->first <= most; ++found) {
    const cudaError_t code = cudaEventQuery(found->second.done.get());
    if (code == cudaErrorNotReady) {
      cudaGetLastError();
      continue;
    }
    check(code, "taking memory");
    void *const memory = found->second.memory;
    idle_bytes_ -= found->first;
    taken_.emplace(memory, found->first);
    idle_.erase(found);
    return memory;
  }
  void *const memory = allocate(bytes);
  taken_.emplace(memory, bytes);
  return memory;
}

void DeviceMemory::give_back(void *memory, Event done) {
  const auto taken = taken_.find(memory);
  if (taken == taken_.end()) return;
  idle_bytes_ += taken->second;
  idle_.emplace(taken->second, Idle{memory, std::move(done)});
  taken_.erase(taken);
}

void DeviceMemory::forget(void *memory) {
  if (taken_.erase(memory) > 0) free_now(memory);
}

void DeviceMemory::free_idle() {
  for (const auto &[bytes, idle] : idle_) free_now(idle.memory);
  idle_.clear();
  idle_bytes_ = 0;
}

}  // namespace infonce::cuda

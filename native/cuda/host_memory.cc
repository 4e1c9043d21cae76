#include "cuda/host_memory.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <string>

#include "cuda/error.h"

namespace infonce::cuda {
namespace {

constexpr std::align_val_t kAlignment{64};

}  // namespace

HostMemory::HostMemory(size_t bytes, unsigned flags) {
  const cudaError_t code = cudaHostAlloc(&memory_, bytes, flags);
  is_page_locked_ = code == cudaSuccess;
  if (is_page_locked_) return;
  cudaGetLastError();
  const Error error(code, std::to_string(bytes) + " bytes of page-locked memory");
  if (error.is_fault()) throw error;
  memory_ = ::operator new(bytes, kAlignment, std::nothrow);
  if (!memory_) throw error;
}

HostMemory::~HostMemory() {
  if (!is_page_locked_) ::operator delete(memory_, kAlignment);
  else if (cudaFreeHost(memory_) != cudaSuccess) cudaGetLastError();
}

HostMemories &HostMemories::all() {
  static auto &all = *new HostMemories;
  return all;
}

void *HostMemories::keep(OfDevice owned) {
  const std::lock_guard<std::mutex> lock(mutex_);
  void *const address = owned.memory.get();
  memories_.emplace(address, std::move(owned));
  return address;
}

HostMemories::OfDevice HostMemories::take(void *address) {
  const std::lock_guard<std::mutex> lock(mutex_);
  auto found = memories_.extract(address);
  return found.empty() ? OfDevice() : std::move(found.mapped());
}

void ByteRows::copy(void *to, size_t first, size_t size) const {
  auto *next = static_cast<char *>(to);
  while (size > 0) {
    const size_t at = first % row, bytes = follow_each_other() ? size : std::min(size, row - at);
    std::memcpy(next, static_cast<const char *>(from) + first / row * stride + at, bytes);
    next += bytes, first += bytes, size -= bytes;
  }
}

bool is_page_locked(const void *memory) {
  cudaPointerAttributes attributes{};
  if (cudaPointerGetAttributes(&attributes, memory) == cudaSuccess) return attributes.type == cudaMemoryTypeHost;
  cudaGetLastError();
  return false;
}

}  // namespace infonce::cuda

#include "cuda/workspace.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/call.h"

namespace infonce::cuda {

Workspace::Workspace(Workspace &&other) noexcept
    : base_(std::exchange(other.base_, nullptr)), capacity_(std::exchange(other.capacity_, 0)) {}

Workspace &Workspace::operator=(Workspace &&other) noexcept {
  std::swap(base_, other.base_);
  std::swap(capacity_, other.capacity_);
  return *this;
}

void Workspace::free() {
  cudaFree(base_);
  base_ = nullptr;
  capacity_ = 0;
}

void Workspace::grow(Stream &stream, size_t bytes) {
  if (bytes <= capacity_) return;
  if (base_) stream.synchronize();
  free();
  base_ = static_cast<std::byte *>(allocate(bytes));
  capacity_ = bytes;
}

void Staging::reserve(size_t bytes) {
  if (std::min(bytes, kMostBytes) <= capacity_) return;
  const size_t wanted = bytes <= kLeastBytes ? kLeastBytes : kMostBytes;
  capacity_ = 0;
  for (Buffer &buffer : buffers_) {
    check(cudaEventSynchronize(buffer.done.get()), "waiting for a copy");
    buffer.memory = HostMemory();
    buffer.memory = HostMemory(wanted);
  }
  capacity_ = wanted;
}

void Staging::upload(Stream &stream, void *to, const ByteRows &rows) {
  const size_t bytes = rows.bytes();
  reserve(bytes);
  for (size_t at = 0; at < bytes; at += capacity_) {
    Buffer &buffer = buffers_[next_];
    next_ = (next_ + 1) % kBuffers;
    const size_t size = std::min(capacity_, bytes - at);
    stream.synchronize(buffer.done.get());
    rows.copy(buffer.memory.get(), at, size);
    stream.copy(static_cast<char *>(to) + at, buffer.memory.get(), size, cudaMemcpyHostToDevice);
    buffer.done.record(stream);
  }
}

void Staging::download(Stream &stream, Stream &downloads, cudaEvent_t ready, void *to, const void *from, size_t bytes) {
  reserve(bytes);
  downloads.follow(ready);
  size_t asked = 0;
  const auto ask = [&](Buffer &buffer) {
    const size_t size = std::min(capacity_, bytes - asked);
    if (size == 0) return;
    downloads.copy(buffer.memory.get(), static_cast<const char *>(from) + asked, size, cudaMemcpyDeviceToHost);
    buffer.done.record(downloads);
    asked += size;
  };
  // The buffers may still be on their way to the device.
  for (Buffer &buffer : buffers_) downloads.follow(buffer.done.get());
  for (Buffer &buffer : buffers_) ask(buffer);
  int turn = 0;
  for (size_t at = 0; at < bytes; at += capacity_) {
    Buffer &buffer = buffers_[turn];
    turn = (turn + 1) % kBuffers;
    stream.synchronize(buffer.done.get());
    std::memcpy(static_cast<char *>(to) + at, buffer.memory.get(), std::min(capacity_, bytes - at));
    ask(buffer);
  }
}

}  // namespace infonce::cuda

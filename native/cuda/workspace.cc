#include "cuda/workspace.h"

#include <algorithm>
#include <cstring>

namespace infonce::cuda {

void Workspace::grow(Stream &stream, size_t bytes) {
  if (bytes <= capacity_) return;
  stream.synchronize();
  cudaFree(base_);
  base_ = nullptr;
  capacity_ = 0;
  void *memory = nullptr;
  if (const cudaError_t code = cudaMalloc(&memory, bytes)) {
    size_t available = 0, all = 0;
    cudaMemGetInfo(&available, &all);
    const std::string wanted = std::to_string(bytes >> 20), had = std::to_string(available >> 20);
    check(code, ("the call needs " + wanted + " MiB on the device, which has " + had + " MiB left").c_str());
  }
  base_ = static_cast<std::byte *>(memory);
  capacity_ = bytes;
}

Staging::~Staging() {
  for (Buffer &buffer : buffers_) cudaFreeHost(buffer.memory);
  if (downloads_) cudaStreamDestroy(downloads_);
}

cudaStream_t Staging::downloads() {
  if (!downloads_) check(cudaStreamCreateWithFlags(&downloads_, cudaStreamNonBlocking), "making a stream");
  return downloads_;
}

void Staging::reserve(size_t bytes) {
  if (std::min(bytes, kMostBytes) <= capacity_) return;
  const size_t wanted = bytes <= kLeastBytes ? kLeastBytes : kMostBytes;
  capacity_ = 0;
  for (Buffer &buffer : buffers_) {
    check(cudaEventSynchronize(buffer.done.get()), "waiting for a copy");
    cudaFreeHost(buffer.memory);
    buffer.memory = nullptr;
    check(cudaHostAlloc(&buffer.memory, wanted, cudaHostAllocDefault), "page-locked memory");
  }
  capacity_ = wanted;
}

void Staging::upload(Stream &stream, void *to, const void *from, size_t bytes) {
  reserve(bytes);
  for (size_t at = 0; at < bytes; at += capacity_) {
    Buffer &buffer = buffers_[next_];
    next_ = (next_ + 1) % kBuffers;
    const size_t size = std::min(capacity_, bytes - at);
    check(cudaEventSynchronize(buffer.done.get()), "waiting for a copy to the device");
    std::memcpy(buffer.memory, static_cast<const char *>(from) + at, size);
    check(cudaMemcpyAsync(static_cast<char *>(to) + at, buffer.memory, size, cudaMemcpyHostToDevice, stream.handle()),
          "copying to the device");
    buffer.done.record(stream.handle());
  }
}

void Staging::download(Stream &stream, cudaEvent_t ready, void *to, const void *from, size_t bytes) {
  reserve(bytes);
  check(cudaStreamWaitEvent(downloads(), ready, 0), "waiting for the results");
  size_t asked = 0;
  const auto ask = [&](Buffer &buffer) {
    const size_t size = std::min(capacity_, bytes - asked);
    if (size == 0) return;
    check(cudaMemcpyAsync(buffer.memory, static_cast<const char *>(from) + asked, size, cudaMemcpyDeviceToHost,
                          downloads_),
          "copying from the device");
    buffer.done.record(downloads_);
    asked += size;
  };
  // The buffers may still be on their way to the device.
  for (Buffer &buffer : buffers_) check(cudaStreamWaitEvent(downloads_, buffer.done.get(), 0), "waiting for a copy");
  for (Buffer &buffer : buffers_) ask(buffer);
  int turn = 0;
  for (size_t at = 0; at < bytes; at += capacity_) {
    Buffer &buffer = buffers_[turn];
    turn = (turn + 1) % kBuffers;
    if (const cudaError_t code = cudaEventSynchronize(buffer.done.get())) {
      stream.synchronize();  // names the kernel that failed
      check(code, "copying from the device");
    }
    std::memcpy(static_cast<char *>(to) + at, buffer.memory, std::min(capacity_, bytes - at));
    ask(buffer);
  }
}

}  // namespace infonce::cuda

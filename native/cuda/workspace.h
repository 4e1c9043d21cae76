// Memory kept between calls: blocks on the device that grow to the largest call and are carved anew by each, and the
// page-locked buffers that copies go through.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/cursor.h"
#include "cuda/device_memory.h"
#include "cuda/event.h"
#include "cuda/host_memory.h"

namespace infonce::cuda {

class Workspace {
 public:
  using Cursor = infonce::Cursor;

  Workspace() = default;
  ~Workspace() { free(); }
  Workspace(Workspace &&other) noexcept;
  Workspace &operator=(Workspace &&other) noexcept;

  // Runs take(cursor) twice: to count, then to place; throws OutOfMemory. Waits for `stream` before memory that is in use there goes.
  template <class Take> void lay_out(Stream &stream, Take &&take) {
    Cursor count(nullptr);
    take(count);
    grow(stream, count.used());
    Cursor place(base_);
    take(place);
  }

  size_t capacity() const { return capacity_; }
  void free();  // which nothing queued may use any longer

 private:
  void grow(Stream &stream, size_t bytes);

  std::byte *base_ = nullptr;
  size_t capacity_ = 0;
};

// Copies between pageable memory and the device through page-locked buffers: the processor fills or empties one while
// the device copies others.
class Staging {
 public:
  Staging() = default;
  Staging(const Staging &) = delete;
  Staging &operator=(const Staging &) = delete;

  // What is copied may be reused when these return. Rows come to lie next to each other.
  void upload(Stream &stream, void *to, const void *from, size_t bytes) {
    upload(stream, to, {from, bytes, bytes, size_t(bytes > 0)});
  }
  void upload(Stream &stream, void *to, const ByteRows &rows);
  // In `downloads`, after `ready` has happened in `stream` and beside what is done there then; `to` is filled when this
  // returns.
  void download(Stream &stream, Stream &downloads, cudaEvent_t ready, void *to, const void *from, size_t bytes);

 private:
  static constexpr size_t kLeastBytes = size_t(64) << 10, kMostBytes = size_t(1) << 20;  // of a buffer
  static constexpr int kBuffers = 6;
  struct Buffer {
    HostMemory memory;
    Event done;  // with the last copy
  };
  void reserve(size_t bytes);

  Buffer buffers_[kBuffers];
  size_t capacity_ = 0;
  int next_ = 0;
};

}  // namespace infonce::cuda

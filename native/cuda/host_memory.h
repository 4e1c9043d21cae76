// Memory of the host that the device copies to and from directly, or ordinary memory where the system has none of that
// kind: copies are slower then, and wait.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <unordered_map>
#include <utility>

namespace infonce::cuda {

class HostMemory {
 public:
  HostMemory() = default;
  explicit HostMemory(size_t bytes, unsigned flags = cudaHostAllocDefault);  // throws Error
  ~HostMemory();
  HostMemory(HostMemory &&other) noexcept
      : memory_(std::exchange(other.memory_, nullptr)), is_page_locked_(other.is_page_locked_) {}
  HostMemory &operator=(HostMemory &&other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(is_page_locked_, other.is_page_locked_);
    return *this;
  }

  void *get() const { return memory_; }
  bool is_page_locked() const { return is_page_locked_; }

 private:
  void *memory_ = nullptr;
  bool is_page_locked_ = false;
};

// One object.
template <class T> class PageLocked {
 public:
  T *get() const { return static_cast<T *>(memory_.get()); }

 private:
  HostMemory memory_{sizeof(T)};
};

// What callers were given, by its address.
class HostMemories {
 public:
  struct OfDevice {
    int32_t device = 0;
    HostMemory memory;
  };

  static HostMemories &all();  // never destroyed: other threads may use it while the process exits
  void *keep(OfDevice owned);
  OfDevice take(void *address);

 private:
  std::mutex mutex_;
  std::unordered_map<void *, OfDevice> memories_;
};

// Rows of bytes in memory of the host, each so many after the one before.
struct ByteRows {
  const void *from;
  size_t row, stride, count;

  size_t bytes() const { return row * count; }
  bool follow_each_other() const { return row == stride || count <= 1; }
  // Copies those bytes of the rows that, without what is between them, are `first` ... `first` + `size`.
  void copy(void *to, size_t first, size_t size) const;
};

// Whether the device copies to and from it directly.
bool is_page_locked(const void *memory);

}  // namespace infonce::cuda

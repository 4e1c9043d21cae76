#pragma once

#include <cstddef>
#include <memory>

namespace infonce::test {

// `size` elements on the heap, the last one at the very end of the allocation so that AddressSanitizer sees a read
// beyond it. `offset` elements come before them: a pointer from JavaScript is aligned to its element and no more.
template <class T> class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t size, size_t offset = 0) : memory_(new T[offset + size]()), size_(size), offset_(offset) {}

  T *data() const { return memory_ ? memory_.get() + offset_ : nullptr; }
  size_t size() const { return size_; }
  T &operator[](size_t i) const { return data()[i]; }
  T *begin() const { return data(); }
  T *end() const { return data() + size_; }

 private:
  std::unique_ptr<T[]> memory_;
  size_t size_ = 0;
  size_t offset_ = 0;
};

}  // namespace infonce::test

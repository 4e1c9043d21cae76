// Carves aligned arrays out of one block of memory. A layout is run twice: without a base it only counts, then it places.
#pragma once

#include <cstddef>
#include <cstdint>

namespace infonce {

class Cursor {
 public:
  explicit Cursor(std::byte *base) : base_(base) {}

  // Uninitialised; null while counting.
  template <class T> T *take(int64_t count) {
    const size_t at = used_;
    used_ += (size_t(count) * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
    return base_ ? reinterpret_cast<T *>(base_ + at) : nullptr;
  }
  size_t used() const { return used_; }

 private:
  static constexpr size_t kAlignment = 256;  // what cudaMalloc gives, and two pairs of cache lines
  std::byte *base_;
  size_t used_ = 0;
};

}  // namespace infonce

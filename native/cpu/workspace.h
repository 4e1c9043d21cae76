// Memory kept between calls: one block that grows to the largest call and is carved anew by each.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/cursor.h"

namespace infonce::cpu {

class Workspace {
 public:
  using Cursor = infonce::Cursor;

  Workspace() = default;
  ~Workspace();
  Workspace(const Workspace &) = delete;
  Workspace &operator=(const Workspace &) = delete;

  // Runs take(cursor) twice: to count, then to place. Throws OutOfMemory.
  template <class Take> void lay_out(Take &&take) {
    Cursor count(nullptr);
    take(count);
    grow(count.used());
    Cursor place(base_);
    take(place);
  }

  int64_t capacity() const { return int64_t(capacity_); }
  void free();

 private:
  void grow(size_t bytes);

  std::byte *base_ = nullptr;
  size_t capacity_ = 0;
};

}  // namespace infonce::cpu

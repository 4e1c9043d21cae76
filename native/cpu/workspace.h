// Memory kept between calls: one block that grows to the largest call and is carved anew by each.
#pragma once

#include <cstddef>
#include <cstdint>

namespace infonce::cpu {

class Workspace {
 public:
  // Hands out aligned, uninitialised arrays; without a base it only counts.
  class Cursor {
   public:
    template <class T> T *take(int64_t count) {
      const size_t at = used_;
      used_ += (size_t(count) * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
      return base_ ? reinterpret_cast<T *>(base_ + at) : nullptr;
    }

   private:
    friend class Workspace;
    explicit Cursor(std::byte *base) : base_(base) {}
    std::byte *base_;
    size_t used_ = 0;
  };

  Workspace() = default;
  ~Workspace();
  Workspace(const Workspace &) = delete;
  Workspace &operator=(const Workspace &) = delete;

  // Runs plan(cursor) twice: to count, then to place. Throws std::bad_alloc.
  template <class Plan> void lay_out(Plan &&plan) {
    Cursor count(nullptr);
    plan(count);
    grow(count.used_);
    Cursor place(base_);
    plan(place);
  }

 private:
  static constexpr size_t kAlignment = 128;
  void grow(size_t bytes);

  std::byte *base_ = nullptr;
  size_t capacity_ = 0;
};

}  // namespace infonce::cpu

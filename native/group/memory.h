// Reusable memory for steps of a group. (SupCon's memory of embeddings is another thing.)
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

#include "infonce/infonce.h"

namespace infonce::group {

// The memory for a step's messages: host memory, if possible such that a backend's device copies to and from it directly, or
// memory of the device.
struct MemoryKind {
  const infonce_backend *backend = nullptr;
  int32_t device = 0;
  infonce_context *context = nullptr;  // whose device's memory it is; null: it is the host's

  static MemoryKind on_device_of(const infonce_backend &backend, infonce_context *context) {
    return {&backend, backend.host_device(context), context};
  }
  bool is_on_device() const { return context != nullptr; }
  infonce_residence residence() const { return context ? INFONCE_ON_DEVICE : INFONCE_ON_HOST; }

  // Of the context's device, which may be the host.
  static MemoryKind of(const infonce_backend &backend, infonce_context *context) {
    const int32_t device = backend.host_device(context);
    return device < 0 ? MemoryKind() : MemoryKind{&backend, device};
  }
  bool operator==(const MemoryKind &other) const {
    return backend == other.backend && device == other.device && context == other.context;
  }
};

// Fresh pages cost more than what is done with them, and page-locking more than that. Usable from any thread: what is saved
// for a gradient may end at any time.
class Memory {
 public:
  class Piece {
   public:
    Piece() = default;
    // Falls back to ordinary host memory if that kind is unavailable or the size is small.
    Piece(size_t size, const MemoryKind &wanted);
    ~Piece();
    Piece(Piece &&other) noexcept { swap(other); }
    Piece &operator=(Piece &&other) noexcept {
      swap(other);
      return *this;
    }

    char *bytes() const { return bytes_; }
    size_t size() const { return size_; }
    bool is_on_device() const { return wanted_.is_on_device(); }
    bool serves(size_t size, const MemoryKind &wanted) const {
      return wanted_ == wanted && size_ >= size && size_ / 2 <= size;
    }

   private:
    void swap(Piece &other) noexcept {
      std::swap(bytes_, other.bytes_);
      std::swap(size_, other.size_);
      std::swap(wanted_, other.wanted_);
      std::swap(lender_, other.lender_);
    }

    char *bytes_ = nullptr;
    size_t size_ = 0;
    MemoryKind wanted_;
    const infonce_backend *lender_ = nullptr;  // null: it is the heap's
  };

  // One that is free and not much larger, or a new one. What a device has is the context's to keep.
  Piece take(size_t size, const MemoryKind &wanted);
  void give_back(Piece piece);

 private:
  std::mutex mutex_;
  std::vector<Piece> free_;
};

}  // namespace infonce::group

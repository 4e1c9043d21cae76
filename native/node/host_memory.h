#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "infonce/infonce.h"

namespace infonce::node {

// Memory of the host that a device copies to and from directly. Throws a Failure when there is none left.
class HostAllocator {
 public:
  HostAllocator(const infonce_backend &backend, int32_t device) : backend_(&backend), device_(device) {}

  void *allocate(size_t bytes) const;
  void release(void *memory) const noexcept;

 private:
  const infonce_backend *backend_;
  int32_t device_;
};

class HostPool;

// Gives a block back to its pool, which it keeps alive.
struct ReturnToPool {
  std::shared_ptr<HostPool> pool;
  size_t size_class = 0;

  void operator()(void *memory) const noexcept;
};

using HostBlock = std::unique_ptr<void, ReturnToPool>;

// Blocks of such memory, kept for the next call that needs one: page-locking costs more than a copy does, and fresh pages
// cost a fault each. Usable from any thread.
class HostPool : public std::enable_shared_from_this<HostPool> {
 public:
  explicit HostPool(HostAllocator allocator) : allocator_(allocator) {}
  ~HostPool() { close(); }
  HostPool(const HostPool &) = delete;
  HostPool &operator=(const HostPool &) = delete;

  // At least `bytes`, of any content.
  HostBlock take(size_t bytes);

  // Releases the idle blocks, and from now on every block as soon as it is given back.
  void close() noexcept;

  const HostAllocator &allocator() const { return allocator_; }

 private:
  friend struct ReturnToPool;

  // Four sizes an octave, from 256 bytes to more than any array has.
  static constexpr size_t kClasses = 4 * 42;
  // What is kept of idle blocks. Beyond it a call is so long that a fresh block does not matter.
  static constexpr size_t kMostIdleBytes = size_t{256} << 20;

  static size_t size_of_class(size_t size_class) { return (4 + size_class % 4) << (6 + size_class / 4); }
  static size_t class_of(size_t bytes);

  void put(void *memory, size_t size_class) noexcept;
  // Whether there were any.
  bool release_idle() noexcept;
  void *allocate(size_t bytes);

  HostAllocator allocator_;
  std::mutex mutex_;
  std::array<std::vector<void *>, kClasses> idle_;
  size_t idle_bytes_ = 0;
  size_t most_idle_bytes_ = kMostIdleBytes;
};

}  // namespace infonce::node

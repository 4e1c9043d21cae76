#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>

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
  bool is_result = false;

  void operator()(void *memory) const noexcept;
};

using HostBlock = std::unique_ptr<void, ReturnToPool>;

// Blocks of such memory, kept for the next call that needs one: page-locking costs more than a copy does, and fresh pages
// cost a fault each. Blocks in use and idle ones together take no more than were in use at once, whatever sizes come.
// Usable from any thread.
class HostPool : public std::enable_shared_from_this<HostPool> {
 public:
  explicit HostPool(HostAllocator allocator) : allocator_(allocator) {}
  ~HostPool() { close(); }
  HostPool(const HostPool &) = delete;
  HostPool &operator=(const HostPool &) = delete;

  // At least `bytes`, of any content.
  HostBlock take(size_t bytes);

  // The same for a result, which comes back when the garbage collector has found it. Null where so many are not back yet
  // that they had better be left to it.
  HostBlock take_for_result(size_t bytes);

  // Releases the idle blocks; returns how many bytes.
  size_t trim() noexcept;

  // Releases the idle blocks, and until the next one is taken every block as soon as it is given back.
  void rest() noexcept;

  // Releases the idle blocks, and from now on every block as soon as it is given back.
  void close() noexcept;

  const HostAllocator &allocator() const { return allocator_; }

 private:
  friend struct ReturnToPool;

  // Four sizes an octave, from 256 bytes to more than any array has.
  static constexpr size_t kClasses = 4 * 42;
  // Idle blocks beyond this are not kept: a call is so long then that a fresh block does not matter.
  static constexpr size_t kMostIdleBytes = size_t{256} << 20;
  // So much may be held in any case.
  static constexpr size_t kFewBytes = size_t{8} << 20;
  // Node.js gives results back in a later turn of the event loop: a loop of synchronous calls has none.
  static constexpr size_t kMostResultBytes = size_t{128} << 20;

  static size_t size_of_class(size_t size_class) { return (4 + size_class % 4) << (6 + size_class / 4); }
  static size_t class_of(size_t bytes);

  struct Idle {
    void *memory;
    size_t size_class;
  };
  // A list, because blocks change hands without an allocation that could fail.
  using Blocks = std::list<Idle>;

  // Under the mutex.
  void count_used(size_t bytes);
  bool holds_too_much() const;
  Blocks take_surplus();

  HostBlock take(size_t size_class, bool is_result);
  void put(void *memory, size_t size_class, bool is_result) noexcept;
  void *allocate(size_t bytes);
  void release(const Blocks &blocks) const noexcept;

  HostAllocator allocator_;
  std::mutex mutex_;
  Blocks idle_;  // the longest idle first
  size_t idle_bytes_ = 0;
  size_t used_bytes_ = 0;
  size_t most_used_bytes_ = 0;
  size_t result_bytes_ = 0;  // of those used
  bool closed_ = false;
  bool resting_ = false;
};

}  // namespace infonce::node

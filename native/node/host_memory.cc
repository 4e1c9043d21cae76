#include "node/host_memory.h"

#include <algorithm>
#include <cstdlib>
#include <new>
#include <string>
#include <utility>

#include "node/failure.h"

namespace infonce::node {

void *HostAllocator::allocate(size_t bytes) const {
  if (backend_->host_allocate != nullptr) {
    infonce_failure report = empty_report();
    void *memory = nullptr;
    check(backend_->host_allocate(device_, static_cast<int64_t>(bytes), &memory, &report), report);
    return memory;
  }
  if (void *memory = std::malloc(bytes)) {
    return memory;
  }
  throw Failure{INFONCE_OUT_OF_MEMORY, "no room for " + std::to_string(bytes) + " bytes"};
}

void HostAllocator::release(void *memory) const noexcept {
  if (backend_->host_allocate != nullptr) {
    backend_->host_release(memory);
  } else {
    std::free(memory);
  }
}

void ReturnToPool::operator()(void *memory) const noexcept { pool->put(memory, size_class, is_result); }

void HostPool::close() noexcept {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    closed_ = true;
  }
  trim();
}

void HostPool::rest() noexcept {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    resting_ = true;
  }
  trim();
}

size_t HostPool::trim() noexcept {
  Blocks idle;
  size_t bytes = 0;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    idle.swap(idle_);
    std::swap(bytes, idle_bytes_);
  }
  release(idle);
  return bytes;
}

void HostPool::release(const Blocks &blocks) const noexcept {
  for (const Idle &block : blocks) {
    allocator_.release(block.memory);
  }
}

void *HostPool::allocate(size_t bytes) {
  try {
    return allocator_.allocate(bytes);
  } catch (const Failure &failure) {
    // Blocks of other sizes may be what is missing.
    if (failure.status != INFONCE_OUT_OF_MEMORY || trim() == 0) {
      throw;
    }
  }
  return allocator_.allocate(bytes);
}

size_t HostPool::class_of(size_t bytes) {
  size_t size_class = 0;
  while (size_class + 1 < kClasses && size_of_class(size_class) < bytes) {
    ++size_class;
  }
  return size_class;
}

void HostPool::count_used(size_t bytes) {
  used_bytes_ += bytes;
  most_used_bytes_ = std::max(most_used_bytes_, used_bytes_);
}

bool HostPool::holds_too_much() const {
  return closed_ || resting_ || idle_bytes_ > kMostIdleBytes ||
         idle_bytes_ + used_bytes_ > std::max(most_used_bytes_, kFewBytes);
}

HostPool::Blocks HostPool::take_surplus() {
  Blocks surplus;
  while (!idle_.empty() && holds_too_much()) {
    idle_bytes_ -= size_of_class(idle_.front().size_class);
    surplus.splice(surplus.end(), idle_, idle_.begin());
  }
  return surplus;
}

HostBlock HostPool::take(size_t bytes) { return take(class_of(bytes), false); }

HostBlock HostPool::take_for_result(size_t bytes) {
  const size_t size_class = class_of(bytes);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (result_bytes_ + size_of_class(size_class) > kMostResultBytes) {
      return {};
    }
  }
  return take(size_class, true);
}

HostBlock HostPool::take(size_t size_class, bool is_result) {
  const size_t size = size_of_class(size_class);
  ReturnToPool give_back{shared_from_this(), size_class, is_result};
  Blocks surplus;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    resting_ = false;
    count_used(size);
    result_bytes_ += is_result ? size : 0;
    const auto fits = [size_class](const Idle &idle) { return idle.size_class == size_class; };
    const auto found = std::find_if(idle_.begin(), idle_.end(), fits);
    if (found != idle_.end()) {
      void *memory = found->memory;
      idle_.erase(found);
      idle_bytes_ -= size;
      return {memory, std::move(give_back)};
    }
    surplus = take_surplus();
  }
  release(surplus);
  try {
    return {allocate(size), std::move(give_back)};
  } catch (...) {
    const std::lock_guard<std::mutex> lock(mutex_);
    used_bytes_ -= size;
    result_bytes_ -= is_result ? size : 0;
    throw;
  }
}

void HostPool::put(void *memory, size_t size_class, bool is_result) noexcept {
  const size_t size = size_of_class(size_class);
  Blocks surplus;
  try {
    surplus.push_back({memory, size_class});
  } catch (const std::bad_alloc &) {
    // There is not even room to remember it.
    allocator_.release(memory);
  }
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    used_bytes_ -= size;
    result_bytes_ -= is_result ? size : 0;
    if (!surplus.empty()) {
      idle_.splice(idle_.end(), surplus);
      idle_bytes_ += size;
    }
    surplus = take_surplus();
  }
  release(surplus);
}

}  // namespace infonce::node

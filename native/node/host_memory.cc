#include "node/host_memory.h"

#include <cstdlib>
#include <string>

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

void ReturnToPool::operator()(void *memory) const noexcept { pool->put(memory, size_class); }

void HostPool::close() noexcept {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    most_idle_bytes_ = 0;
  }
  release_idle();
}

bool HostPool::release_idle() noexcept {
  decltype(idle_) idle;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    idle.swap(idle_);
    idle_bytes_ = 0;
  }
  bool released = false;
  for (const std::vector<void *> &blocks : idle) {
    for (void *memory : blocks) {
      allocator_.release(memory);
      released = true;
    }
  }
  return released;
}

void *HostPool::allocate(size_t bytes) {
  try {
    return allocator_.allocate(bytes);
  } catch (const Failure &failure) {
    // Blocks of other sizes may be what is missing.
    if (failure.status != INFONCE_OUT_OF_MEMORY || !release_idle()) {
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

HostBlock HostPool::take(size_t bytes) {
  const size_t size_class = class_of(bytes);
  ReturnToPool give_back{shared_from_this(), size_class};
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::vector<void *> &blocks = idle_[size_class];
    if (!blocks.empty()) {
      void *memory = blocks.back();
      blocks.pop_back();
      idle_bytes_ -= size_of_class(size_class);
      return {memory, std::move(give_back)};
    }
  }
  return {allocate(size_of_class(size_class)), std::move(give_back)};
}

void HostPool::put(void *memory, size_t size_class) noexcept {
  const size_t size = size_of_class(size_class);
  try {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (idle_bytes_ + size <= most_idle_bytes_) {
      idle_[size_class].push_back(memory);
      idle_bytes_ += size;
      return;
    }
  } catch (const std::bad_alloc &) {
    // There is not even room to remember it.
  }
  allocator_.release(memory);
}

}  // namespace infonce::node

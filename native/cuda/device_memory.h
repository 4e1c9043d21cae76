// Memory on the device for as long as callers want it. What they give back is kept for the next who wants as much: to
// free it would wait for all work of the device.
#pragma once

#include <cstddef>
#include <map>
#include <unordered_map>

#include "cuda/event.h"

namespace infonce::cuda {

// Memory that the device has left.
int64_t available_memory();
// Throws OutOfMemory.
void *allocate(size_t bytes);

class DeviceMemory {
 public:
  DeviceMemory() = default;
  ~DeviceMemory();
  DeviceMemory(const DeviceMemory &) = delete;
  DeviceMemory &operator=(const DeviceMemory &) = delete;

  // Memory that no queued work uses. Throws OutOfMemory.
  void *take(size_t bytes);
  // `done`: after all queued work that may use it.
  void give_back(void *memory, Event done);
  // Lets go of memory that callers have given back without asking whether work uses it: the device is lost.
  void forget(void *memory);

  size_t idle() const { return idle_bytes_; }
  void free_idle();  // waits for the work that uses it

 private:
  struct Idle {
    void *memory;
    Event done;
  };

  std::unordered_map<void *, size_t> taken_;
  std::multimap<size_t, Idle> idle_;  // by size
  size_t idle_bytes_ = 0;
};

}  // namespace infonce::cuda

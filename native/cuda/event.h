// A point in a stream.
#pragma once

#include <utility>

#include "cuda/stream.h"

namespace infonce::cuda {

class Event {
 public:
  explicit Event(unsigned flags = cudaEventDisableTiming) {
    check(cudaEventCreateWithFlags(&event_, flags), "making an event");
  }
  ~Event() {
    if (event_) cudaEventDestroy(event_);
  }
  Event(Event &&other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
  Event &operator=(Event &&other) noexcept {
    std::swap(event_, other.event_);
    return *this;
  }
  cudaEvent_t get() const { return event_; }
  void record(const Stream &stream) const { check(cudaEventRecord(event_, stream.handle()), "recording an event"); }

 private:
  cudaEvent_t event_ = nullptr;
};

}  // namespace infonce::cuda

#include "nccl/device.h"

#include <algorithm>

#include "group/transport.h"
#include "nccl/cannot_start.h"
#include "nccl/libraries.h"

namespace infonce::nccl {

namespace {
constexpr size_t kLeast = size_t{1} << 16;
}

Device::Device(int ordinal, int rank) : driver_(open_driver()) {
  const int started = driver_.init(0);
  if (started == kSuccess) driver_.device_get_count(&count_);
  if (count_ == 0)
    throw CannotStart("NCCL needs an NVIDIA GPU, and the driver finds none that this process may use (" +
                      (started == kSuccess ? "there are 0" : describe(started)) +
                      "): look at nvidia-smi and CUDA_VISIBLE_DEVICES, or use engine: 'mpi'");
  if (ordinal >= count_)
    throw CannotStart("device cuda:" + std::to_string(ordinal) + " was asked for, and this process sees " +
                      std::to_string(count_) + ": name one of those, or look at CUDA_VISIBLE_DEVICES");
  ordinal_ = ordinal < 0 ? rank % count_ : ordinal;
  expect(driver_.device_get(&device_, ordinal_), "cuDeviceGet");
  expect(driver_.primary_context_retain(&context_, device_), "cuDevicePrimaryCtxRetain");
  try {
    expect(driver_.context_set_current(context_), "cuCtxSetCurrent");
    expect(driver_.stream_create(&stream_, kNonBlockingStream), "cuStreamCreate");
  } catch (...) {
    driver_.primary_context_release(device_);
    throw;
  }
}

Device::~Device() {
  driver_.stream_destroy(stream_);
  driver_.context_set_current(nullptr);
  driver_.primary_context_release(device_);
}

std::string Device::name() const { return "device " + std::to_string(ordinal_) + " of " + std::to_string(count_); }

void Device::wait_for(CUevent_st *event) const {
  check(driver_.stream_wait_event(stream_, event, 0), "cuStreamWaitEvent");
}

std::string Device::describe(int result) const {
  const char *text = nullptr;
  driver_.get_error_string(result, &text);
  return text ? text : "error " + std::to_string(result);
}

void Device::check(int result, const char *call) const {
  if (result != kSuccess) throw group::Lost(std::string(call) + ": " + describe(result));
}

void Device::expect(int result, const char *call) const {
  if (result != kSuccess)
    throw CannotStart("the GPU cannot be used (" + name() + "): " + call + ": " + describe(result) +
                      ". Another process may hold it, or it needs a reset");
}

Staging::Staging(const Device &device) : device_(device) {
  device_.check(device_.driver().event_create(&event_, kEventWithoutTiming), "cuEventCreate");
}

Staging::~Staging() {
  release();
  device_.driver().event_destroy(event_);
}

void Staging::release() {
  if (host_) device_.driver().host_free(host_);
  if (memory_) device_.driver().free(memory_);
  host_ = nullptr, memory_ = 0, size_ = 0;
}

void Staging::reserve(size_t size) {
  if (size <= size_) return;
  const size_t rounded = std::max(kLeast, size);
  release();
  device_.check(device_.driver().host_allocate(&host_, rounded, kHostMemoryForAllContexts), "cuMemHostAlloc");
  device_.check(device_.driver().allocate(&memory_, rounded), "cuMemAlloc");
  size_ = rounded;
}

void Staging::upload(size_t begin, size_t end) {
  if (begin == end) return;
  device_.check(device_.driver().copy_to_device(memory_ + begin, host() + begin, end - begin, device_.stream()),
                "cuMemcpyHtoDAsync");
}

void Staging::download(size_t begin, size_t end) {
  if (begin == end) return;
  device_.check(device_.driver().copy_to_host(host() + begin, memory_ + begin, end - begin, device_.stream()),
                "cuMemcpyDtoHAsync");
}

void Staging::record() { device_.check(device_.driver().event_record(event_, device_.stream()), "cuEventRecord"); }

bool Staging::is_done() const {
  const int result = device_.driver().event_query(event_);
  if (result == kNotReady) return false;
  device_.check(result, "cuEventQuery");
  return true;
}

}  // namespace infonce::nccl

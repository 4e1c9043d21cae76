// A GPU, for the thread that makes it: a stream of its own, and memory through which messages go.
#pragma once

#include <cstddef>
#include <string>

#include "nccl/functions.h"

namespace infonce::nccl {

class Device {
 public:
  // `ordinal`: among those that this process sees; -1: the rank's, counted round. Throws CannotStart.
  Device(int ordinal, int rank);
  ~Device();
  Device(const Device &) = delete;
  Device &operator=(const Device &) = delete;

  const Driver &driver() const { return driver_; }
  CUstream_st *stream() const { return stream_; }
  int ordinal() const { return ordinal_; }
  std::string name() const;  // "device 1 of 4"

  // What is queued from now on comes after what `event` stands for, of this device.
  void wait_for(CUevent_st *event) const;

  // Waits until the stream uses no memory any more, whatever has become of its work.
  void settle() const { driver_.stream_synchronize(stream_); }

  // Throws group::Lost.
  void check(int result, const char *call) const;

 private:
  std::string describe(int result) const;
  void expect(int result, const char *call) const;

  Driver driver_;
  int ordinal_ = 0, count_ = 0, device_ = 0;
  CUctx_st *context_ = nullptr;
  CUstream_st *stream_ = nullptr;
};

// As much page-locked memory as device memory, and a point in the stream.
class Staging {
 public:
  explicit Staging(const Device &device);
  ~Staging();
  Staging(const Staging &) = delete;
  Staging &operator=(const Staging &) = delete;

  // At least so much, whose content is lost.
  void reserve(size_t size);
  size_t size() const { return size_; }
  char *host() const { return static_cast<char *>(host_); }
  // For NCCL, which takes addresses.
  char *device() const { return reinterpret_cast<char *>(memory_); }

  void upload(size_t begin, size_t end);
  void download(size_t begin, size_t end);
  // What is queued so far.
  void record();
  bool is_done() const;

 private:
  void release();

  const Device &device_;
  size_t size_ = 0;
  void *host_ = nullptr;
  DevicePointer memory_ = 0;
  CUevent_st *event_ = nullptr;
};

}  // namespace infonce::nccl

// Memory of the device that frees itself.
#pragma once

#include <vector>

#include "cuda/stream.h"

namespace infonce::cuda::ladder {

template <class T> class DeviceArray {
 public:
  explicit DeviceArray(int64_t count) : count_(size_t(count)) {
    check(cudaMalloc(reinterpret_cast<void **>(&data_), count_ * sizeof(T)), "memory of the device");
    fill(0);
  }
  explicit DeviceArray(const std::vector<T> &values) : DeviceArray(int64_t(values.size())) {
    check(cudaMemcpy(data_, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice), "copying to the device");
  }
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray &) = delete;
  DeviceArray &operator=(const DeviceArray &) = delete;

  T *get() const { return data_; }
  void fill(int byte) { check(cudaMemset(data_, byte, count_ * sizeof(T)), "filling memory of the device"); }
  std::vector<T> read() const {
    std::vector<T> values(count_);
    check(cudaMemcpy(values.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost), "copying from the device");
    return values;
  }

 private:
  T *data_ = nullptr;
  const size_t count_;
};

}  // namespace infonce::cuda::ladder

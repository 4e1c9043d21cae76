// Calls whose arrays lie in memory of cudaMalloc, in a stream of the caller's.
#pragma once

#include <cuda_runtime_api.h>
#include <doctest/doctest.h>

#include <deque>

#include "test/case.h"
#include "test/context.h"

namespace infonce::test {

inline void check_cuda(cudaError_t code) { REQUIRE_MESSAGE(code == cudaSuccess, cudaGetErrorString(code)); }

class Stream {
 public:
  Stream() { check_cuda(cudaStreamCreateWithFlags(&handle_, cudaStreamNonBlocking)); }
  ~Stream() { cudaStreamDestroy(handle_); }
  Stream(const Stream &) = delete;
  Stream &operator=(const Stream &) = delete;

  cudaStream_t handle() const { return handle_; }
  void synchronize() const { check_cuda(cudaStreamSynchronize(handle_)); }

 private:
  cudaStream_t handle_ = nullptr;
};

// Device memory that begins as a copy of a host buffer; no memory for an empty one.
template <class T> class DeviceBuffer {
 public:
  explicit DeviceBuffer(const Buffer<T> &source) : size_(source.size()) {
    if (size_ > 0) {
      check_cuda(cudaMalloc(reinterpret_cast<void **>(&memory_), size_ * sizeof(T)));
      check_cuda(cudaMemcpy(memory_, source.data(), size_ * sizeof(T), cudaMemcpyHostToDevice));
    }
  }
  ~DeviceBuffer() { cudaFree(memory_); }
  DeviceBuffer(const DeviceBuffer &) = delete;
  DeviceBuffer &operator=(const DeviceBuffer &) = delete;

  T *data() const { return memory_; }
  void write(const Buffer<T> &source) const {
    if (size_ > 0) {
      check_cuda(cudaMemcpy(memory_, source.data(), size_ * sizeof(T), cudaMemcpyHostToDevice));
    }
  }
  void read(const Buffer<T> &target) const {
    if (size_ > 0) {
      check_cuda(cudaMemcpy(target.data(), memory_, size_ * sizeof(T), cudaMemcpyDeviceToHost));
    }
  }

 private:
  T *memory_ = nullptr;
  size_t size_;
};

// A case and its results on the device.
class DeviceCall {
 public:
  explicit DeviceCall(const Case &from) : output_(from), scalars_(Buffer<infonce_scalars>(1)), problem_(from.problem) {
    const auto place = [this](const Buffer<float> &source) { return arrays_.emplace_back(source).data(); };
    result_.struct_size = sizeof(result_);
    result_.row_loss = {place(output_.row_loss), INFONCE_ON_DEVICE};
    for (const Buffer<float> &gradient : output_.gradients) {
      result_.gradients[arrays_.size() - 1] = {place(gradient), INFONCE_ON_DEVICE};
    }
    for (int m = 0; m < problem_.matrix_count; ++m) {
      problem_.matrices[m].data = place(from.matrices[m]);
      problem_.matrices[m].residence = INFONCE_ON_DEVICE;
    }
    problem_.grad_output.data = place(from.grad_output);
    problem_.grad_output.residence = INFONCE_ON_DEVICE;
  }

  infonce_status run(const Context &context, infonce_failure &failure) {
    return context.run(problem_, result_, failure);
  }

  // The scalars come into device memory, and the call does not wait for them.
  void keep_scalars_on_device() { result_.device_scalars = scalars_.data(); }

  // Other numbers for the same arrays.
  void bring(const Inputs &from) {
    size_t at = 1 + output_.gradients.size();
    for (int m = 0; m < problem_.matrix_count; ++m) {
      arrays_[at++].write(from.matrices[m]);
    }
    arrays_[at].write(from.grad_output);
  }

  // All results of the call, in host memory.
  const Output &output() {
    arrays_[0].read(output_.row_loss);
    for (size_t m = 0; m < output_.gradients.size(); ++m) {
      arrays_[1 + m].read(output_.gradients[m]);
    }
    output_.result.scalars = result_.scalars;
    if (result_.device_scalars) {
      const Buffer<infonce_scalars> scalars(1);
      scalars_.read(scalars);
      output_.result.scalars = scalars[0];
    }
    return output_;
  }

  infonce_problem &problem() { return problem_; }
  infonce_result &result() { return result_; }

 private:
  Output output_;
  std::deque<DeviceBuffer<float>> arrays_;  // row losses and gradients, then what the call reads
  DeviceBuffer<infonce_scalars> scalars_;
  infonce_problem problem_;
  infonce_result result_{};
};

}  // namespace infonce::test

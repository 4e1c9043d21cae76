// The calling thread's device while a call runs, and afterwards that of before: other libraries have theirs.
#pragma once

#include <cuda.h>
#include <cuda_runtime.h>

namespace infonce::cuda {

class CurrentDevice {
 public:
  explicit CurrentDevice(int device);  // throws Error
  ~CurrentDevice();
  CurrentDevice(const CurrentDevice &) = delete;
  CurrentDevice &operator=(const CurrentDevice &) = delete;

 private:
  CUcontext context_ = nullptr;
  int device_ = -1;  // where the driver does not tell the context
};

}  // namespace infonce::cuda

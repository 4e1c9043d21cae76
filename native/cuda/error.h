// What the CUDA runtime says went wrong.
#pragma once

#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

namespace infonce::cuda {

class Error : public std::runtime_error {
 public:
  // `where`: what was being done. The message says what to do about it, where that is known.
  Error(cudaError_t code, const std::string &where);
  bool out_of_memory() const { return code_ == cudaErrorMemoryAllocation; }
  // After which every call of this process fails on the device.
  bool is_fault() const;

 private:
  cudaError_t code_;
};

// Throws an Error that begins with `what`.
void check(cudaError_t code, const char *what);

}  // namespace infonce::cuda

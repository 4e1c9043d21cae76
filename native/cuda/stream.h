// A stream whose launches have names: an error says which kernel it belongs to.
#pragma once

#include <cuda_runtime.h>

#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#include "cuda/kernels/trace.cuh"

namespace infonce::cuda {

class Error : public std::runtime_error {
 public:
  Error(cudaError_t code, const std::string &where);
  bool out_of_memory() const { return code_ == cudaErrorMemoryAllocation; }
  // After which every call of this process fails on the device.
  bool is_fault() const;

 private:
  cudaError_t code_;
};

// Throws an Error that begins with `what`.
void check(cudaError_t code, const char *what);

class Stream {
 public:
  // `handle` of the caller, or null: one of its own. On the current device.
  explicit Stream(cudaStream_t handle);
  ~Stream();
  Stream(const Stream &) = delete;
  Stream &operator=(const Stream &) = delete;

  cudaStream_t handle() const { return handle_; }
  int multiprocessors() const { return multiprocessors_; }
  size_t shared_memory() const { return shared_memory_; }  // bytes that one block may have

  // Launches `kernel(Trace, parameters...)`.
  template <class... Parameters, class... Arguments>
  void launch(const char *name, void (*kernel)(Trace, Parameters...), dim3 grid, int threads, size_t shared,
              const Arguments &...arguments) {
    pack(name, kernel, grid, threads, shared, Parameters(arguments)...);
  }

  // How many blocks of such a launch a multiprocessor holds.
  template <class... Parameters> int resident_blocks(void (*kernel)(Trace, Parameters...), int threads, size_t shared) {
    return resident_blocks(reinterpret_cast<const void *>(kernel), threads, shared);
  }

  // Waits for all that was launched; an error names the kernel that was running.
  void synchronize();

 private:
  template <class... Parameters>
  void pack(const char *name, void (*kernel)(Trace, Parameters...), dim3 grid, int threads, size_t shared,
            Parameters... parameters) {
    Trace trace = {started_, number_of(name)};
    void *packed[] = {&trace, &parameters...};
    launch_packed(name, reinterpret_cast<const void *>(kernel), grid, threads, shared, packed);
  }
  void launch_packed(const char *name, const void *kernel, dim3 grid, int threads, size_t shared, void **packed);
  int resident_blocks(const void *kernel, int threads, size_t shared);
  void allow_shared(const void *kernel, size_t shared);
  int32_t number_of(const char *name);
  std::string running() const;  // the kernel that was started last

  cudaStream_t handle_ = nullptr;
  bool owned_ = false;
  int multiprocessors_ = 0;
  size_t shared_memory_ = 0;
  int32_t *started_ = nullptr;  // page-locked
  std::vector<const char *> names_;
  std::unordered_map<const void *, size_t> shared_of_;
  std::unordered_map<const void *, int> resident_blocks_;
};

}  // namespace infonce::cuda

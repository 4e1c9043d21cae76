// Streams whose launches have names, so that an error says which kernel it belongs to, and which end early when the
// caller has cancelled the call.
#pragma once

#include <cuda_runtime.h>

#include <functional>
#include <mutex>
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

// When kernels for compute capability 9.0 serve: where the device has none, where they are faster, for every shape.
enum class UseOfSm90 { kNever, kWhereFaster, kAlways };

// Throws an Error that begins with `what`.
void check(cudaError_t code, const char *what);

// The kernels of a context: their names, what the runtime said of them, and which of them was the last to start. Only
// running() may be called beside other members.
class Kernels {
 public:
  explicit Kernels(UseOfSm90 sm90);  // on the current device
  ~Kernels() { cudaFreeHost(started_); }
  Kernels(const Kernels &) = delete;
  Kernels &operator=(const Kernels &) = delete;

  UseOfSm90 sm90() const { return sm90_; }
  int multiprocessors() const { return multiprocessors_; }
  size_t shared_memory() const { return shared_memory_; }
  Trace trace(const char *name, const int32_t *cancelled);
  void allow_shared(const void *kernel, size_t shared);
  int resident_blocks(const void *kernel, int threads, size_t shared);
  std::string running() const;

 private:
  const UseOfSm90 sm90_;
  int multiprocessors_ = 0;
  size_t shared_memory_ = 0;
  int32_t *started_ = nullptr;  // page-locked
  mutable std::mutex mutex_;    // of names_
  std::vector<const char *> names_;
  std::unordered_map<const void *, size_t> shared_of_;
  std::unordered_map<const void *, int> resident_blocks_;
};

class Stream {
 public:
  // `handle` of the caller, or null: one of its own. On the current device.
  explicit Stream(Kernels &kernels, cudaStream_t handle = nullptr);
  ~Stream();
  Stream(const Stream &) = delete;
  Stream &operator=(const Stream &) = delete;

  cudaStream_t handle() const { return handle_; }
  UseOfSm90 sm90() const { return kernels_.sm90(); }
  int multiprocessors() const { return kernels_.multiprocessors(); }
  size_t shared_memory() const { return kernels_.shared_memory(); }  // bytes that one block may have

  // From now on launches and waits throw Cancelled once the caller has set `asked`, and blocks of long kernels return
  // at once where `told`, on the device, is not 0. Both may be null.
  void watch(const int32_t *asked, const int32_t *told) { asked_ = asked, told_ = told; }
  bool is_cancelled() const;

  // Launches `kernel(Trace, parameters...)`.
  template <class... Parameters, class... Arguments>
  void launch(const char *name, void (*kernel)(Trace, Parameters...), dim3 grid, int threads, size_t shared,
              const Arguments &...arguments) {
    pack(name, kernel, grid, threads, shared, Parameters(arguments)...);
  }

  // How many blocks of such a launch a multiprocessor holds.
  template <class... Parameters> int resident_blocks(void (*kernel)(Trace, Parameters...), int threads, size_t shared) {
    return kernels_.resident_blocks(reinterpret_cast<const void *>(kernel), threads, shared);
  }

  void copy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind);
  void fill(void *to, int byte, size_t bytes);

  // What is queued here from now on happens after what has been recorded.
  void follow(cudaEvent_t event);

  // Wait for all that was queued, or for an event; an error names the kernel that was running.
  void synchronize();
  void synchronize(cudaEvent_t event, const std::function<void()> &meanwhile = {});
  // Waits whatever has happened.
  void settle() noexcept;

 private:
  template <class... Parameters>
  void pack(const char *name, void (*kernel)(Trace, Parameters...), dim3 grid, int threads, size_t shared,
            Parameters... parameters) {
    Trace trace = kernels_.trace(name, told_);
    void *packed[] = {&trace, &parameters...};
    launch_packed(name, reinterpret_cast<const void *>(kernel), grid, threads, shared, packed);
  }
  void launch_packed(const char *name, const void *kernel, dim3 grid, int threads, size_t shared, void **packed);
  template <class Query> void poll(Query &&query);

  Kernels &kernels_;
  cudaStream_t handle_ = nullptr;
  bool owned_ = false;
  const int32_t *asked_ = nullptr, *told_ = nullptr;
};

}  // namespace infonce::cuda

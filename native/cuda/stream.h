// Streams whose launches have names, so that an error says which kernel it belongs to, and which end early when the
// caller has cancelled the call.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <functional>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "cuda/error.h"
#include "cuda/hardware.h"
#include "cuda/host_memory.h"
#include "cuda/kernels/trace.cuh"

namespace infonce::cuda {

// The kernels of a context: their names, what the runtime said of them, and which of them was the last to start. Only
// running() may be called beside other members.
class Kernels {
 public:
  explicit Kernels(UseOfSm90 sm90, bool trace = true);  // on the current device
  Kernels(const Kernels &) = delete;
  Kernels &operator=(const Kernels &) = delete;

  const Hardware &hardware() const { return hardware_; }
  Trace trace(const char *name, const int32_t *cancelled, uint32_t first_block);
  void allow_shared(const void *kernel, size_t shared);
  std::string running() const;

 private:
  int resident_blocks(const char *name, const void *kernel, int threads, size_t shared);

  Hardware hardware_;
  HostMemory started_;        // a number, which kernels write; none without trace
  mutable std::mutex mutex_;  // of names_
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
  const Hardware &hardware() const { return kernels_.hardware(); }
  int multiprocessors() const { return hardware().multiprocessors; }

  // From now on launches and waits throw Cancelled once the caller has set `host_flag`, and blocks of long kernels
  // return at once if `device_flag` is not 0. Both may be null.
  void watch(const int32_t *host_flag, const int32_t *device_flag) {
    host_flag_ = host_flag, device_flag_ = device_flag;
  }
  bool is_cancelled() const;

  // Launches `kernel(Trace, parameters...)`.
  template <class... Parameters, class... Arguments>
  void launch(const char *name, void (*kernel)(Trace, Parameters...), dim3 grid, int threads, size_t shared,
              const Arguments &...arguments) {
    pack(name, kernel, grid, threads, shared, 0, Parameters(arguments)...);
  }

  // The same in as many launches as it takes for each to end in time, for kernels that count blocks by Trace::block().
  template <class... Parameters, class... Arguments>
  void launch_in_parts(const Operations &operations, const char *name, void (*kernel)(Trace, Parameters...), dim3 grid,
                       int threads, size_t shared, const Arguments &...arguments) {
    const unsigned all = grid.x, most = std::max(1u, unsigned(double(all) * hardware().share_of_launch(operations)));
    for (unsigned first = 0; first < all; first += most) {
      grid.x = std::min(most, all - first);
      pack(name, kernel, grid, threads, shared, first, Parameters(arguments)...);
    }
  }

  // Of what was captured elsewhere.
  void launch(cudaGraphExec_t graph);

  void copy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind);
  // Rows of page-locked memory, which come to lie next to each other.
  void upload_rows(void *to, const ByteRows &rows);
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
            unsigned first_block, Parameters... parameters) {
    Trace trace = kernels_.trace(name, device_flag_, first_block);
    void *packed[] = {&trace, &parameters...};
    launch_packed(name, reinterpret_cast<const void *>(kernel), grid, threads, shared, packed);
  }
  void launch_packed(const char *name, const void *kernel, dim3 grid, int threads, size_t shared, void **packed);
  void check_launch(cudaError_t code, const char *name);
  template <class Query> void poll(Query &&query);
  void check_running(cudaError_t code);

  Kernels &kernels_;
  cudaStream_t handle_ = nullptr;
  bool owned_ = false;
  const int32_t *host_flag_ = nullptr, *device_flag_ = nullptr;
};

}  // namespace infonce::cuda

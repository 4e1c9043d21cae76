// What a device has, as far as it decides what runs there and how it is cut. Tests make devices up.
#pragma once

#include <cstddef>
#include <functional>

namespace infonce::cuda {

// When kernels for compute capability 9.0 serve: where the device has none, where they are faster, for every shape.
enum class UseOfSm90 { kNever, kWhereFaster, kAlways };

// What a launch computes, to know how long it takes where that is limited.
struct Operations {
  double count = 0;  // floating-point operations
  bool is_float64 = false;
};

struct Hardware {
  UseOfSm90 sm90 = UseOfSm90::kNever;
  int multiprocessors = 0;
  size_t shared_memory = 0;     // bytes that one block may have
  size_t cache = 0;             // bytes of the second level
  double clocks_of_launch = 0;  // of all multiprocessors, where the device ends kernels that take long; else 0
  // How many blocks of such a launch a multiprocessor holds.
  std::function<int(const char *name, const void *kernel, int threads, size_t shared)> occupancy;

  // The share of such work that one launch may have: all of it, unless the device ends kernels that take long.
  double share_of_launch(const Operations &operations) const;

  template <class Kernel> int resident_blocks(const char *name, Kernel *kernel, int threads, size_t shared) const {
    return occupancy(name, reinterpret_cast<const void *>(kernel), threads, shared);
  }
};

}  // namespace infonce::cuda

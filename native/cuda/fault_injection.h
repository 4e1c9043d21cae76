// For tests of faults, in a library of their own (infonce_cuda_faulty). INFONCE_FAULT="<n>:<error>" makes the n-th
// launch or copy of the process fail with that error, one of the names below or any number. While
// INFONCE_FAIL_KERNEL="<begin of a name>" is set, launches of the kernels so called fail. With INFONCE_HANG="<begin of
// a name>" such a launch never ends. While INFONCE_CANCEL is set, every launch finds the word set that cancelling sets on
// the device. With INFONCE_OLD_DRIVER the driver makes no tensor maps.
#pragma once

#include <cuda_runtime.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

namespace infonce::cuda {

class InjectedFaults {
 public:
  // Counts the launch of a kernel, or a copy with an empty name; returns the error to fail with. `device_flag`: that of a call
  // which can be cancelled, or null.
  static cudaError_t next(const std::string &name, const int32_t *device_flag, cudaStream_t stream) {
    static InjectedFaults faults;
    while (is_asked_for("INFONCE_HANG", name)) std::this_thread::sleep_for(std::chrono::hours(1));
    if (is_asked_for("INFONCE_FAIL_KERNEL", name)) return cudaErrorLaunchFailure;
    if (device_flag && std::getenv("INFONCE_CANCEL"))
      cudaMemsetAsync(const_cast<int32_t *>(device_flag), 1, sizeof *device_flag, stream);
    return ++faults.turn_ == faults.fail_at_ ? faults.code_ : cudaSuccess;
  }

  static bool driver_is_old() { return std::getenv("INFONCE_OLD_DRIVER") != nullptr; }

 private:
  static bool is_asked_for(const char *variable, const std::string &kernel) {
    const char *begin = std::getenv(variable);
    return begin && !kernel.empty() && kernel.rfind(begin, 0) == 0;
  }

  InjectedFaults() {
    const char *text = std::getenv("INFONCE_FAULT");
    if (!text) return;
    char *end = nullptr;
    fail_at_ = std::strtol(text, &end, 10);
    code_ = *end == ':' ? code_of(end + 1) : cudaSuccess;
    if (code_ != cudaSuccess) return;
    std::fprintf(stderr, "INFONCE_FAULT=%s: expected <n>:<error>\n", text);
    std::abort();
  }

  static cudaError_t code_of(const std::string &name) {
    static const struct {
      const char *name;
      cudaError_t code;
    } kNames[] = {{"cudaErrorIllegalAddress", cudaErrorIllegalAddress},
                  {"cudaErrorLaunchFailure", cudaErrorLaunchFailure},
                  {"cudaErrorLaunchTimeout", cudaErrorLaunchTimeout},
                  {"cudaErrorECCUncorrectable", cudaErrorECCUncorrectable},
                  {"cudaErrorMemoryAllocation", cudaErrorMemoryAllocation},
                  {"cudaErrorLaunchOutOfResources", cudaErrorLaunchOutOfResources}};
    for (const auto &known : kNames)
      if (name == known.name) return known.code;
    return cudaError_t(std::atoi(name.c_str()));
  }

  std::atomic<long> turn_{0};
  long fail_at_ = 0;  // 0: never
  cudaError_t code_ = cudaSuccess;
};

}  // namespace infonce::cuda

#include "cuda/device.h"

#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "common/call.h"
#include "cuda/tensor_maps.h"

namespace infonce::cuda {
namespace {

constexpr int kOldestMajor = 8;  // bfloat16 products and asynchronous copies

infonce_status unavailable(infonce_failure *failure, const char *reason) {
  return fail(failure, INFONCE_DEVICE_UNAVAILABLE, INFONCE_NO_MATRIX, -1, "%s", reason);
}

// What this library was compiled for, as CMake names it: "80-real,90a-real,120-virtual", or a word such as "native".
#ifndef INFONCE_CUDA_ARCHITECTURES
#define INFONCE_CUDA_ARCHITECTURES "80-virtual"
#endif

// What the driver takes of the library for a device, as nvcc names it, or an empty text. Machine code runs on its own
// major version, from its minor on, and with a letter on its own version alone; PTX runs on everything from its version
// on. Machine code goes before PTX, and then the newest.
std::string code_for(int major, int minor) {
  const int capability = 10 * major + minor;
  struct {
    int version = 0;
    bool lettered = false;
    std::string name(const char *prefix) const { return prefix + std::to_string(version) + (lettered ? "a" : ""); }
  } code, ptx;
  for (const char *at = INFONCE_CUDA_ARCHITECTURES; *at;) {
    char *end = nullptr;
    const int version = int(std::strtol(at, &end, 10));
    if (end == at) return "sm_" + std::to_string(capability);  // a word: built for the devices of this machine
    const bool lettered = *end != '-' && *end != ',' && *end != '\0';
    const char *next = std::strchr(end, ',');
    const std::string kind(end, next ? size_t(next - end) : std::strlen(end));
    const bool as_ptx = kind.find("virtual") != std::string::npos || kind.find("real") == std::string::npos;
    const bool as_code = kind.find("real") != std::string::npos || kind.find("virtual") == std::string::npos;
    const bool serves = lettered ? capability == version : capability >= version;
    if (as_code && serves && version / 10 == major && version >= code.version) code = {version, lettered};
    if (as_ptx && serves && version >= ptx.version) ptx = {version, lettered};
    at = next ? next + 1 : end + kind.size();
  }
  if (code.version > 0) return code.name("sm_");
  return ptx.version > 0 ? ptx.name("compute_") : "";
}

// Why the runtime cannot count devices.
infonce_status explain(cudaError_t code, infonce_failure *failure) {
  cudaGetLastError();
  int driver = 0, runtime = 0;
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  if (code == cudaErrorInsufficientDriver && driver == 0)
    return unavailable(failure, "no NVIDIA driver is installed (the CUDA driver library was not found)");
  if (code == cudaErrorInsufficientDriver)
    return fail(failure, INFONCE_DEVICE_UNAVAILABLE, INFONCE_NO_MATRIX, -1,
                "the NVIDIA driver is too old: it supports CUDA %d.%d, this backend was built with CUDA %d.%d",
                driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
  if (code == cudaErrorNoDevice) return unavailable(failure, "the NVIDIA driver finds no GPU");
  return fail(failure, INFONCE_DEVICE_UNAVAILABLE, INFONCE_NO_MATRIX, -1, "the NVIDIA driver reports: %s (%s)",
              cudaGetErrorString(code), cudaGetErrorName(code));
}

infonce_status properties_of(int32_t device, cudaDeviceProp *properties, infonce_failure *failure) {
  int count = 0;
  if (const cudaError_t code = cudaGetDeviceCount(&count)) return explain(code, failure);
  if (device < 0 || device >= count)
    return fail(failure, INFONCE_DEVICE_UNAVAILABLE, INFONCE_NO_MATRIX, -1,
                "there is no CUDA device %d: the driver shows %d", device, count);
  if (const cudaError_t code = cudaGetDeviceProperties(properties, device)) return explain(code, failure);
  return INFONCE_OK;
}

// Whether the library holds the code for compute capability 9.0 that runs on nothing else.
bool holds_sm90() { return std::strstr(INFONCE_CUDA_ARCHITECTURES, "90a") != nullptr; }

bool has_capability_of_sm90(const cudaDeviceProp &properties) { return properties.major == 9 && properties.minor == 0; }

std::string why_no_sm90(int32_t device, const cudaDeviceProp &properties) {
  if (!has_capability_of_sm90(properties)) return "the device has another compute capability than 9.0";
  if (!holds_sm90()) return "this library holds no code for architecture 90a";
  return why_no_tensor_maps(device);
}

// 0 where the driver does not say.
int attribute(cudaDeviceAttr which, int device) {
  int value = 0;
  if (cudaDeviceGetAttribute(&value, which, device) != cudaSuccess) cudaGetLastError();
  return value;
}

infonce_status refuse_unsupported(const cudaDeviceProp &properties, infonce_failure *failure) {
  const int major = properties.major, minor = properties.minor;
  if (major < kOldestMajor)
    return fail(failure, INFONCE_DEVICE_UNAVAILABLE, INFONCE_NO_MATRIX, -1,
                "%s has compute capability %d.%d; this backend needs %d.0 or later (Ampere)", properties.name, major,
                minor, kOldestMajor);
  if (code_for(major, minor).empty())
    return fail(failure, INFONCE_DEVICE_UNAVAILABLE, INFONCE_NO_MATRIX, -1,
                "%s: this library holds no code for compute capability %d.%d: build it for this GPU", properties.name,
                major, minor);
  return INFONCE_OK;
}

}  // namespace

int32_t device_count(infonce_failure *failure) {
  int count = 0;
  if (const cudaError_t code = cudaGetDeviceCount(&count)) {
    explain(code, failure);
    return 0;
  }
  if (count == 0) explain(cudaErrorNoDevice, failure);
  return count;
}

infonce_status device_info(int32_t device, infonce_device_info *info, infonce_failure *failure) {
  if (info->struct_size != sizeof *info) return invalid(failure, "struct_size does not match this library's");
  cudaDeviceProp properties;
  if (const infonce_status status = properties_of(device, &properties, failure)) return status;
  std::snprintf(info->name, sizeof info->name, "%.*s", int(sizeof info->name) - 1, properties.name);
  const std::string problem = why_no_sm90(device, properties);
  const bool has_sm90 = problem.empty();
  std::snprintf(info->instruction_set, sizeof info->instruction_set, has_sm90 ? "sm90" : "sm80");
  std::snprintf(info->instruction_sets, sizeof info->instruction_sets, has_sm90 ? "sm90 sm80" : "sm80");
  std::snprintf(info->medium, sizeof info->medium, "bfloat16");
  std::snprintf(info->capability, sizeof info->capability, "%d.%d", properties.major, properties.minor);
  std::snprintf(info->code, sizeof info->code, "%s", code_for(properties.major, properties.minor).c_str());
  info->note[0] = '\0';
  if (!has_sm90 && has_capability_of_sm90(properties))
    std::snprintf(info->note, sizeof info->note, "the kernels 'sm90' cannot be used: %s", problem.c_str());
  info->threads = 0;
  info->memory = int64_t(properties.totalGlobalMem);
  cudaDriverGetVersion(&info->driver_version);
  cudaRuntimeGetVersion(&info->runtime_version);
  info->multiprocessors = attribute(cudaDevAttrMultiProcessorCount, device);
  info->clock_khz = attribute(cudaDevAttrClockRate, device);
  // Two transfers a cycle and bit.
  info->memory_bandwidth = 2 * int64_t(1000) * attribute(cudaDevAttrMemoryClockRate, device) *
                           attribute(cudaDevAttrGlobalMemoryBusWidth, device) / 8;
  return refuse_unsupported(properties, failure);
}

std::string why_no_sm90(int32_t device) {
  cudaDeviceProp properties;
  const cudaError_t code = cudaGetDeviceProperties(&properties, device);
  return code == cudaSuccess ? why_no_sm90(device, properties) : cudaGetErrorString(code);
}

infonce_status check_device(int32_t device, infonce_failure *failure) {
  cudaDeviceProp properties;
  if (const infonce_status status = properties_of(device, &properties, failure)) return status;
  return refuse_unsupported(properties, failure);
}

}  // namespace infonce::cuda

#include "cuda/foreign_memory.h"

#include <cuda.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>

#include "cuda/driver.h"
#include "cuda/error.h"
#include "cuda/event.h"

namespace infonce::cuda {
namespace {

struct Functions {
  decltype(&cuMemGetAddressRange) range = reinterpret_cast<decltype(range)>(driver_function("cuMemGetAddressRange"));
  decltype(&cuPointerGetAttribute) attribute =
      reinterpret_cast<decltype(attribute)>(driver_function("cuPointerGetAttribute"));
};

const Functions &functions() {
  static const Functions found;
  return found;
}

std::string hexadecimal(uintptr_t address) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(address));
  return text;
}

// Throws what is a fault.
std::string words_of(cudaError_t code) {
  cudaGetLastError();
  const Error error(code, "");
  if (error.is_fault()) throw Error(code, "asking for a pointer's attributes");
  return std::string(cudaGetErrorString(code)) + " (" + cudaGetErrorName(code) + ")";
}

// Of one byte.
std::string what_else_is(uintptr_t address, int device) {
  cudaPointerAttributes attributes{};
  const cudaError_t code = cudaPointerGetAttributes(&attributes, reinterpret_cast<const void *>(address));
  if (code != cudaSuccess) return "an address of which the driver says: " + words_of(code);
  switch (attributes.type) {
    case cudaMemoryTypeManaged:
      return "";
    case cudaMemoryTypeDevice:
      if (attributes.device == device) return "";
      return "memory of cuda:" + std::to_string(attributes.device) +
             ", where the context is on cuda:" + std::to_string(device);
    case cudaMemoryTypeHost:
      return "page-locked memory of the host";
    default:
      return "no memory of a device: the host's, or freed, or never allocated";
  }
}

// Whether an allocation is in pieces that follow each other, as those of PyTorch's expandable segments do: mapped one by
// one, rather than taken by cudaMalloc or from a pool.
bool is_mapped(uintptr_t address) {
  const auto ask = functions().attribute;
  if (!ask) return false;
  int of_malloc = 1;
  CUmemoryPool pool = nullptr;
  return ask(&of_malloc, CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE, CUdeviceptr(address)) == CUDA_SUCCESS &&
         !of_malloc && ask(&pool, CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE, CUdeviceptr(address)) == CUDA_SUCCESS && !pool;
}

// How many bytes there are from an address of a device on, at most so many; where the driver does not say, so many.
size_t bytes_from(uintptr_t address, size_t most) {
  size_t found = 0;
  while (functions().range && found < most) {
    CUdeviceptr begin = 0;
    size_t size = 0;
    if (functions().range(&begin, &size, CUdeviceptr(address + found)) != CUDA_SUCCESS) return found;
    const size_t left = size - size_t(address + found - begin);
    if (left == 0 || left > size) return found;
    found += left;
    if (!is_mapped(address)) break;
  }
  return functions().range ? std::min(found, most) : most;
}

}  // namespace

std::string what_else_is(const void *memory, size_t bytes, int device) {
  const auto begin = reinterpret_cast<uintptr_t>(memory);
  if (begin == 0) return "the null pointer";
  if (bytes == 0) return "";
  if (bytes - 1 > UINTPTR_MAX - begin) return hexadecimal(begin) + ", which is too near the end of all addresses";
  const std::string first = what_else_is(begin, device);
  if (!first.empty()) return hexadecimal(begin) + ", which is " + first;
  const size_t there = bytes_from(begin, bytes);
  if (there < bytes)
    return hexadecimal(begin) + ", from which on its allocation has " + std::to_string(there) + " bytes";
  const std::string last = what_else_is(begin + (bytes - 1), device);
  if (!last.empty()) return hexadecimal(begin) + ", the last of whose bytes is " + last;
  return "";
}

// An event belongs to its device, and is recorded in no stream of another.
std::string what_else_is(cudaStream_t stream) {
  if (!stream) return "";
  const Event probe;
  const cudaError_t code = cudaEventRecord(probe.get(), stream);
  return code == cudaSuccess ? "" : "a handle that is no stream of this device: " + words_of(code);
}

}  // namespace infonce::cuda

#include "cuda/memory_handle.h"

#include <cuda.h>
#include <cuda_runtime.h>

#include <cstring>

#include "cuda/driver.h"
#include "cuda/error.h"

namespace infonce::cuda {
namespace {

static_assert(sizeof(cudaIpcMemHandle_t) == sizeof(infonce_memory_handle::bytes));

// A handle is that of a whole allocation.
int64_t place_in_allocation(const void *memory) {
  static const auto range = reinterpret_cast<decltype(&cuMemGetAddressRange)>(driver_function("cuMemGetAddressRange"));
  const auto address = CUdeviceptr(reinterpret_cast<uintptr_t>(memory));
  CUdeviceptr begin = 0;
  size_t size = 0;
  return range && range(&begin, &size, address) == CUDA_SUCCESS ? int64_t(address - begin) : 0;
}

// "Invalid device context" is what a process is told that opens a handle of its own, too.
std::string words_of(cudaError_t code, const char *what) {
  constexpr int kInvalidContext = 201;
  cudaGetLastError();
  const Error error(code, what);
  if (error.is_fault() && int(code) != kInvalidContext) throw error;
  return error.what();
}

}  // namespace

std::string export_memory(const void *memory, infonce_memory_handle *handle) {
  cudaIpcMemHandle_t made{};
  const cudaError_t code = cudaIpcGetMemHandle(&made, const_cast<void *>(memory));
  if (code != cudaSuccess) return words_of(code, "making a handle");
  std::memcpy(handle->bytes, &made, sizeof made);
  handle->offset = place_in_allocation(memory);
  return "";
}

std::string open_memory(const infonce_memory_handle &handle, void **opened) {
  cudaIpcMemHandle_t given;
  std::memcpy(&given, handle.bytes, sizeof given);
  const cudaError_t code = cudaIpcOpenMemHandle(opened, given, cudaIpcMemLazyEnablePeerAccess);
  return code == cudaSuccess ? "" : words_of(code, "opening a handle");
}

void close_memory(void *opened) {
  if (cudaIpcCloseMemHandle(opened) != cudaSuccess) cudaGetLastError();
}

}  // namespace infonce::cuda

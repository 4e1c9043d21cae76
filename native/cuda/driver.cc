#include "cuda/driver.h"

#include <cuda_runtime.h>

namespace infonce::cuda {

void *driver_function(const char *name, std::string *problem) {
  void *function = nullptr;
  cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
#if CUDART_VERSION >= 12050
  constexpr unsigned kSince = 12000;
  const cudaError_t code = cudaGetDriverEntryPointByVersion(name, &function, kSince, cudaEnableDefault, &found);
#else
  const cudaError_t code = cudaGetDriverEntryPoint(name, &function, cudaEnableDefault, &found);
#endif
  if (code != cudaSuccess) cudaGetLastError();
  if (code == cudaSuccess && found == cudaDriverEntryPointSuccess && function) return function;
  if (problem)
    *problem = std::string("the driver has no ") + name + " (" +
               (code == cudaSuccess ? "not found" : cudaGetErrorString(code)) + ")";
  return nullptr;
}

}  // namespace infonce::cuda

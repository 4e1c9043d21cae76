#include "cuda/current_device.h"

#include "cuda/driver.h"
#include "cuda/error.h"

namespace infonce::cuda {
namespace {

struct Functions {
  decltype(&cuCtxGetCurrent) get = reinterpret_cast<decltype(get)>(driver_function("cuCtxGetCurrent"));
  decltype(&cuCtxSetCurrent) set = reinterpret_cast<decltype(set)>(driver_function("cuCtxSetCurrent"));
  bool there() const { return get && set; }
};

const Functions &functions() {
  static const Functions found;
  return found;
}

}  // namespace

// By contexts rather than devices: since CUDA 12, to make device 0 current again would make a context on it, in memory
// of a GPU that nobody asked for.
CurrentDevice::CurrentDevice(int device) {
  if (functions().there()) {
    // Fails only where no context was ever made: there was none.
    if (functions().get(&context_) != CUDA_SUCCESS) context_ = nullptr;
  } else if (cudaGetDevice(&device_) != cudaSuccess) {
    cudaGetLastError();
    device_ = -1;
  }
  check(cudaSetDevice(device), "selecting the device");
}

CurrentDevice::~CurrentDevice() {
  if (functions().there()) functions().set(context_);
  else if (device_ >= 0 && cudaSetDevice(device_) != cudaSuccess) cudaGetLastError();
}

}  // namespace infonce::cuda

#include "cuda/stream.h"

namespace infonce::cuda {

Error::Error(cudaError_t code, const std::string &where)
    : std::runtime_error(where + ": " + cudaGetErrorString(code) + " (" + cudaGetErrorName(code) + ")"), code_(code) {}

bool Error::is_fault() const {
  switch (code_) {
    case cudaErrorIllegalAddress:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorIllegalInstruction:
    case cudaErrorHardwareStackError:
    case cudaErrorAssert:
    case cudaErrorLaunchFailure:
    case cudaErrorLaunchTimeout:
    case cudaErrorECCUncorrectable:
      return true;
    default:
      return false;
  }
}

void check(cudaError_t code, const char *what) {
  if (code == cudaSuccess) return;
  cudaGetLastError();  // a failure that does not stick must not show up in a later call
  throw Error(code, what);
}

Stream::Stream(cudaStream_t handle) : handle_(handle) {
  int device = 0, shared = 0;
  check(cudaGetDevice(&device), "finding the device");
  check(cudaDeviceGetAttribute(&multiprocessors_, cudaDevAttrMultiProcessorCount, device), "asking the device");
  check(cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, device), "asking the device");
  shared_memory_ = size_t(shared);
  check(cudaHostAlloc(reinterpret_cast<void **>(&started_), sizeof *started_,
                      cudaHostAllocPortable | cudaHostAllocMapped),
        "page-locked memory");
  *started_ = -1;
  if (handle_) return;
  if (const cudaError_t code = cudaStreamCreateWithFlags(&handle_, cudaStreamNonBlocking)) {
    cudaFreeHost(started_);
    check(code, "making a stream");
  }
  owned_ = true;
}

Stream::~Stream() {
  if (owned_) cudaStreamDestroy(handle_);
  cudaFreeHost(started_);
}

int32_t Stream::number_of(const char *name) {
  for (size_t k = 0; k < names_.size(); ++k)
    if (names_[k] == name) return int32_t(k);
  names_.push_back(name);
  return int32_t(names_.size()) - 1;
}

void Stream::allow_shared(const void *kernel, size_t shared) {
  constexpr size_t kSharedWithoutAsking = 48 << 10;
  if (shared <= kSharedWithoutAsking || shared_of_[kernel] >= shared) return;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(shared)),
        "asking for shared memory");
  shared_of_[kernel] = shared;
}

int Stream::resident_blocks(const void *kernel, int threads, size_t shared) {
  int &blocks = resident_blocks_[kernel];
  if (blocks == 0) {
    allow_shared(kernel, shared);
    check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, threads, shared), "asking for the occupancy");
  }
  return blocks;
}

void Stream::launch_packed(const char *name, const void *kernel, dim3 grid, int threads, size_t shared, void **packed) {
  allow_shared(kernel, shared);
  const cudaError_t code = cudaLaunchKernel(kernel, grid, dim3(unsigned(threads)), packed, shared, handle_);
  if (code == cudaSuccess) return;
  // What is wrong with this launch, or the fault of a kernel before it, which only shows now.
  cudaGetLastError();
  if (cudaStreamQuery(handle_) == code) throw Error(code, running());
  cudaGetLastError();
  throw Error(code, std::string("launching ") + name);
}

std::string Stream::running() const {
  const int32_t started = *static_cast<volatile int32_t *>(started_);
  const bool known = started >= 0 && size_t(started) < names_.size();
  return known ? std::string("kernel ") + names_[started] : std::string("waiting for the device");
}

void Stream::synchronize() {
  if (const cudaError_t code = cudaStreamSynchronize(handle_)) throw Error(code, running());
}

}  // namespace infonce::cuda

#include "cuda/stream.h"

#include <chrono>
#include <thread>

#include "common/call.h"

#ifdef INFONCE_FAULT_INJECTION
#include "cuda/fault_injection.h"
#endif

namespace infonce::cuda {
namespace {

#ifdef INFONCE_FAULT_INJECTION
cudaError_t injected_fault(const char *name, const int32_t *told, cudaStream_t stream) {
  return InjectedFaults::next(name, told, stream);
}
#else
constexpr cudaError_t injected_fault(const char *, const int32_t *, cudaStream_t) { return cudaSuccess; }
#endif

}  // namespace

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
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorMpsClientTerminated:
    case cudaErrorExternalDevice:
#if CUDART_VERSION >= 13000
    case cudaErrorContained:
    case cudaErrorTensorMemoryLeak:
#endif
    case cudaErrorUnknown:
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

Kernels::Kernels(UseOfSm90 sm90) : sm90_(sm90) {
  int device = 0, shared = 0;
  check(cudaGetDevice(&device), "finding the device");
  check(cudaDeviceGetAttribute(&multiprocessors_, cudaDevAttrMultiProcessorCount, device), "asking the device");
  check(cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, device), "asking the device");
  shared_memory_ = size_t(shared);
  check(cudaHostAlloc(reinterpret_cast<void **>(&started_), sizeof *started_,
                      cudaHostAllocPortable | cudaHostAllocMapped),
        "page-locked memory");
  *started_ = -1;
}

Trace Kernels::trace(const char *name, const int32_t *cancelled) {
  for (size_t k = 0; k < names_.size(); ++k)
    if (names_[k] == name) return {started_, cancelled, int32_t(k)};
  const std::lock_guard<std::mutex> lock(mutex_);
  names_.push_back(name);
  return {started_, cancelled, int32_t(names_.size()) - 1};
}

void Kernels::allow_shared(const void *kernel, size_t shared) {
  constexpr size_t kSharedWithoutAsking = 48 << 10;
  if (shared <= kSharedWithoutAsking || shared_of_[kernel] >= shared) return;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(shared)),
        "asking for shared memory");
  shared_of_[kernel] = shared;
}

int Kernels::resident_blocks(const void *kernel, int threads, size_t shared) {
  int &blocks = resident_blocks_[kernel];
  if (blocks == 0) {
    allow_shared(kernel, shared);
    check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, threads, shared), "asking for the occupancy");
  }
  return blocks;
}

std::string Kernels::running() const {
  const int32_t started = *static_cast<volatile int32_t *>(started_);
  const std::lock_guard<std::mutex> lock(mutex_);
  const bool known = started >= 0 && size_t(started) < names_.size();
  return known ? std::string("kernel ") + names_[started] : std::string("waiting for the device");
}

Stream::Stream(Kernels &kernels, cudaStream_t handle) : kernels_(kernels), handle_(handle), owned_(!handle) {
  if (owned_) check(cudaStreamCreateWithFlags(&handle_, cudaStreamNonBlocking), "making a stream");
}

Stream::~Stream() {
  if (owned_) cudaStreamDestroy(handle_);
}

bool Stream::is_cancelled() const { return infonce::is_cancelled(asked_); }

void Stream::launch_packed(const char *name, const void *kernel, dim3 grid, int threads, size_t shared, void **packed) {
  if (is_cancelled()) throw Cancelled();
  kernels_.allow_shared(kernel, shared);
  cudaError_t code = injected_fault(name, told_, handle_);
  if (code == cudaSuccess) code = cudaLaunchKernel(kernel, grid, dim3(unsigned(threads)), packed, shared, handle_);
  if (code == cudaSuccess) return;
  // What is wrong with this launch, or the fault of a kernel before it, which only shows now.
  cudaGetLastError();
  if (cudaStreamQuery(handle_) == code) throw Error(code, kernels_.running());
  cudaGetLastError();
  throw Error(code, std::string("launching ") + name);
}

void Stream::copy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind) {
  cudaError_t code = injected_fault("", told_, handle_);
  if (code == cudaSuccess) code = cudaMemcpyAsync(to, from, bytes, kind, handle_);
  check(code, kind == cudaMemcpyHostToDevice   ? "copying to the device"
              : kind == cudaMemcpyDeviceToHost ? "copying from the device"
                                               : "copying on the device");
}

void Stream::fill(void *to, int byte, size_t bytes) {
  check(cudaMemsetAsync(to, byte, bytes, handle_), "filling memory on the device");
}

void Stream::follow(cudaEvent_t event) { check(cudaStreamWaitEvent(handle_, event, 0), "ordering streams"); }

// Who waits for a short call must not oversleep; who waits for a long one must not keep a processor busy.
template <class Query> void Stream::poll(Query &&query) {
  using std::chrono::steady_clock;
  constexpr std::chrono::microseconds kSpin(2000), kStep(50);
  const auto start = steady_clock::now();
  cudaError_t code;
  while ((code = query()) == cudaErrorNotReady) {
    cudaGetLastError();
    if (is_cancelled()) throw Cancelled();
    if (steady_clock::now() - start > kSpin) std::this_thread::sleep_for(kStep);
  }
  if (code == cudaSuccess) return;
  cudaGetLastError();
  throw Error(code, kernels_.running());
}

void Stream::synchronize() {
  poll([&] { return asked_ ? cudaStreamQuery(handle_) : cudaStreamSynchronize(handle_); });
}

void Stream::synchronize(cudaEvent_t event, const std::function<void()> &meanwhile) {
  poll([&] {
    if (meanwhile) meanwhile();
    return asked_ || meanwhile ? cudaEventQuery(event) : cudaEventSynchronize(event);
  });
}

void Stream::settle() noexcept {
  cudaStreamSynchronize(handle_);
  cudaGetLastError();
}

}  // namespace infonce::cuda

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
cudaError_t injected_fault(const char *name, const int32_t *device_flag, cudaStream_t stream) {
  return InjectedFaults::next(name, device_flag, stream);
}
#else
constexpr cudaError_t injected_fault(const char *, const int32_t *, cudaStream_t) { return cudaSuccess; }
#endif

}  // namespace

Kernels::Kernels(UseOfSm90 sm90, bool trace) {
  int device = 0;
  check(cudaGetDevice(&device), "finding the device");
  const auto attribute = [&](cudaDeviceAttr which) {
    int value = 0;
    check(cudaDeviceGetAttribute(&value, which, device), "asking the device");
    return value;
  };
  hardware_.sm90 = sm90;
  hardware_.multiprocessors = attribute(cudaDevAttrMultiProcessorCount);
  hardware_.shared_memory = size_t(attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin));
  hardware_.cache = size_t(attribute(cudaDevAttrL2CacheSize));
  if (attribute(cudaDevAttrKernelExecTimeout) != 0) {
    constexpr double kSeconds = 0.2, kUsualClock = 1e9;
    const int kilohertz = attribute(cudaDevAttrClockRate);  // 0: the driver does not say
    hardware_.clocks_of_launch = kSeconds * (kilohertz > 0 ? 1e3 * kilohertz : kUsualClock) * hardware_.multiprocessors;
  }
  hardware_.occupancy = [this](const char *name, const void *kernel, int threads, size_t shared) {
    return resident_blocks(name, kernel, threads, shared);
  };
  if (!trace) return;
  started_ = HostMemory(sizeof(int32_t), cudaHostAllocPortable | cudaHostAllocMapped);
  *static_cast<int32_t *>(started_.get()) = -1;
}

Trace Kernels::trace(const char *name, const int32_t *cancelled, uint32_t first_block) {
  // Kernels reach no memory that is not page-locked.
  int32_t *const started = started_.is_page_locked() ? static_cast<int32_t *>(started_.get()) : nullptr;
  for (size_t k = 0; k < names_.size(); ++k)
    if (names_[k] == name) return {started, cancelled, int32_t(k), first_block};
  const std::lock_guard<std::mutex> lock(mutex_);
  names_.push_back(name);
  return {started, cancelled, int32_t(names_.size()) - 1, first_block};
}

void Kernels::allow_shared(const void *kernel, size_t shared) {
  constexpr size_t kSharedWithoutAsking = 48 << 10;
  if (shared <= kSharedWithoutAsking || shared_of_[kernel] >= shared) return;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(shared)),
        "asking for shared memory");
  shared_of_[kernel] = shared;
}

int Kernels::resident_blocks(const char *name, const void *kernel, int threads, size_t shared) {
  int &blocks = resident_blocks_[kernel];
  if (blocks == 0) {
    allow_shared(kernel, shared);
    check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, threads, shared), "asking for the occupancy");
    if (blocks == 0) throw Error(cudaErrorLaunchOutOfResources, std::string("kernel ") + name);
  }
  return blocks;
}

std::string Kernels::running() const {
  const auto *word = static_cast<const volatile int32_t *>(started_.get());
  const int32_t started = word ? *word : -1;
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

bool Stream::is_cancelled() const { return infonce::is_cancelled(host_flag_); }

void Stream::launch_packed(const char *name, const void *kernel, dim3 grid, int threads, size_t shared, void **packed) {
  if (is_cancelled()) throw Cancelled();
  kernels_.allow_shared(kernel, shared);
  cudaError_t code = injected_fault(name, device_flag_, handle_);
  if (code == cudaSuccess) code = cudaLaunchKernel(kernel, grid, dim3(unsigned(threads)), packed, shared, handle_);
  check_launch(code, name);
}

void Stream::launch(cudaGraphExec_t graph) {
  constexpr const char *kName = "a graph";
  if (is_cancelled()) throw Cancelled();
  cudaError_t code = injected_fault(kName, device_flag_, handle_);
  if (code == cudaSuccess) code = cudaGraphLaunch(graph, handle_);
  check_launch(code, kName);
}

void Stream::check_launch(cudaError_t code, const char *name) {
  if (code == cudaSuccess) return;
  // What is wrong with this launch, or the fault of a kernel before it, which only shows now.
  cudaGetLastError();
  if (cudaStreamQuery(handle_) == code) throw Error(code, kernels_.running());
  cudaGetLastError();
  throw Error(code, std::string("launching ") + name);
}

void Stream::upload_rows(void *to, const ByteRows &rows) {
  cudaError_t code = injected_fault("", device_flag_, handle_);
  if (code == cudaSuccess)
    code =
        cudaMemcpy2DAsync(to, rows.row, rows.from, rows.stride, rows.row, rows.count, cudaMemcpyHostToDevice, handle_);
  check(code, "copying to the device");
}

void Stream::copy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind) {
  cudaError_t code = injected_fault("", device_flag_, handle_);
  if (code == cudaSuccess) code = cudaMemcpyAsync(to, from, bytes, kind, handle_);
  check(code, kind == cudaMemcpyHostToDevice   ? "copying to the device"
              : kind == cudaMemcpyDeviceToHost ? "copying from the device"
              : kind == cudaMemcpyDefault      ? "copying between contexts"
                                               : "copying on the device");
}

void Stream::fill(void *to, int byte, size_t bytes) {
  check(cudaMemsetAsync(to, byte, bytes, handle_), "filling memory on the device");
}

void Stream::follow(cudaEvent_t event) { check(cudaStreamWaitEvent(handle_, event, 0), "ordering streams"); }

void Stream::check_running(cudaError_t code) {
  if (code == cudaSuccess) return;
  cudaGetLastError();
  throw Error(code, kernels_.running());
}

// Who waits for a short call must not oversleep; who waits for a long one must not keep a processor busy.
template <class Query> void Stream::poll(Query &&query) {
  using std::chrono::steady_clock;
  constexpr std::chrono::microseconds kSpin(200), kStep(50);
  const auto start = steady_clock::now();
  cudaError_t code;
  while ((code = query()) == cudaErrorNotReady) {
    cudaGetLastError();
    if (is_cancelled()) throw Cancelled();
    if (steady_clock::now() - start > kSpin) std::this_thread::sleep_for(kStep);
  }
  check_running(code);
}

void Stream::synchronize() {
  if (!host_flag_) return check_running(cudaStreamSynchronize(handle_));
  poll([&] { return cudaStreamQuery(handle_); });
}

void Stream::synchronize(cudaEvent_t event, const std::function<void()> &meanwhile) {
  if (!host_flag_ && !meanwhile) return check_running(cudaEventSynchronize(event));
  poll([&] {
    if (meanwhile) meanwhile();
    return cudaEventQuery(event);
  });
}

void Stream::settle() noexcept {
  cudaStreamSynchronize(handle_);
  cudaGetLastError();
}

}  // namespace infonce::cuda

// Counts what a call asks of the CUDA runtime: put before the shared runtime by LD_PRELOAD, as calls.mjs does. Its symbols
// are asked before those of the runtime, to which they hand on.
#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <atomic>

namespace {

// What is counted, and what the host waits for.
enum Counted { kLaunches, kFills, kCopies, kEvents, kWaits, kCounted };
std::atomic<long> counts[kCounted];

template <class... Parameters>
cudaError_t hand_on(Counted which, const char *name, cudaError_t (*)(Parameters...), Parameters... parameters) {
  ++counts[which];
  return reinterpret_cast<cudaError_t (*)(Parameters...)>(dlsym(RTLD_NEXT, name))(parameters...);
}

}  // namespace

#define HAND_ON(which, name, ...) hand_on(which, #name, &name, __VA_ARGS__)

// Those since the last time, in the order of Counted.
extern "C" void infonce_take_counts(long *to) {
  for (int k = 0; k < kCounted; ++k) to[k] = counts[k].exchange(0);
}

extern "C" cudaError_t cudaLaunchKernel(const void *kernel, dim3 grid, dim3 block, void **arguments, size_t shared,
                                        cudaStream_t stream) {
  return HAND_ON(kLaunches, cudaLaunchKernel, kernel, grid, block, arguments, shared, stream);
}
extern "C" cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t *config, const void *kernel, void **arguments) {
  return HAND_ON(kLaunches, cudaLaunchKernelExC, config, kernel, arguments);
}
extern "C" cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
  return HAND_ON(kLaunches, cudaGraphLaunch, graph, stream);
}
extern "C" cudaError_t cudaMemsetAsync(void *to, int byte, size_t bytes, cudaStream_t stream) {
  return HAND_ON(kFills, cudaMemsetAsync, to, byte, bytes, stream);
}
extern "C" cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                                       cudaStream_t stream) {
  return HAND_ON(kCopies, cudaMemcpyAsync, to, from, bytes, kind, stream);
}
extern "C" cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width,
                                         size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
  return HAND_ON(kCopies, cudaMemcpy2DAsync, to, to_pitch, from, from_pitch, width, height, kind, stream);
}
extern "C" cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return HAND_ON(kEvents, cudaEventRecord, event, stream);
}
extern "C" cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) {
  return HAND_ON(kEvents, cudaStreamWaitEvent, stream, event, flags);
}
extern "C" cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return HAND_ON(kWaits, cudaStreamSynchronize, stream);
}
extern "C" cudaError_t cudaEventSynchronize(cudaEvent_t event) { return HAND_ON(kWaits, cudaEventSynchronize, event); }

#include "test/fake_cuda_runtime.h"

#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <mutex>
#include <utility>

namespace infonce::test {

namespace {

struct State {
  std::mutex mutex;
  std::map<std::string, int> errors;
  std::map<int, int> attributes;
  std::map<std::string, int> calls;
  std::map<uintptr_t, size_t> allocated;  // by address: how many bytes
  std::map<uintptr_t, int> device_of;     // by the same
  std::map<cudaStream_t, int> stream_device;
  int devices = 1;
  int tensor_maps = 0;
  int memory_type = -1, memory_device = -1;
  size_t piece = 0;
};

State &state() {
  static State the;
  return the;
}

// Counts the call and returns its error.
cudaError_t next(const char *function) {
  const std::lock_guard<std::mutex> lock(state().mutex);
  ++state().calls[function];
  const auto found = state().errors.find(function);
  return found == state().errors.end() ? cudaSuccess : static_cast<cudaError_t>(found->second);
}

template <class Function> Function *real(const char *name) {
  static void *const runtime =
      dlopen(("libcudart.so." + std::to_string(CUDART_VERSION / 1000)).c_str(), RTLD_LAZY | RTLD_LOCAL);
  void *symbol = runtime == nullptr ? nullptr : dlsym(runtime, name);
  if (symbol == nullptr) {
    std::abort();
  }
  return reinterpret_cast<Function *>(symbol);
}

thread_local void *context_of_thread = nullptr;
constexpr int kMostDevices = 4;
char context_of_device[kMostDevices];  // their addresses are the contexts
thread_local int device_of_thread = 0;

int get_context(void **context) {
  *context = context_of_thread;
  return 0;
}

int set_context(void *context) {
  context_of_thread = context;
  const auto *const of_device = static_cast<const char *>(context);
  if (of_device >= context_of_device && of_device < context_of_device + kMostDevices) {
    device_of_thread = static_cast<int>(of_device - context_of_device);
  }
  return 0;
}

int device_count() {
  const std::lock_guard<std::mutex> lock(state().mutex);
  return state().devices;
}

bool is_of_other_device(cudaStream_t stream) {
  const std::lock_guard<std::mutex> lock(state().mutex);
  const auto found = state().stream_device.find(stream);
  return found != state().stream_device.end() && found->second != device_of_thread;
}

// Of its memory. Under the lock.
int device_under_lock(const void *memory) {
  const auto &device_of = state().device_of;
  const auto after = device_of.upper_bound(reinterpret_cast<uintptr_t>(memory));
  return after == device_of.begin() ? 0 : std::prev(after)->second;
}

int device_of(const void *memory) {
  const std::lock_guard<std::mutex> lock(state().mutex);
  return device_under_lock(memory);
}

using DevicePointer = unsigned long long;

// As the driver's functions of these names.
int get_address_range(DevicePointer *begin, size_t *size, DevicePointer pointer) {
  const std::lock_guard<std::mutex> lock(state().mutex);
  auto next = state().allocated.upper_bound(pointer);
  if (next == state().allocated.begin()) return cudaErrorInvalidValue;
  --next;
  if (pointer - next->first >= next->second) return cudaErrorInvalidValue;
  const size_t piece = state().piece ? state().piece : next->second;
  const size_t before = (pointer - next->first) / piece * piece;
  *begin = next->first + before;
  *size = std::min(piece, next->second - before);
  return cudaSuccess;
}

int get_pointer_attribute(void *value, int which, DevicePointer) {
  constexpr int kIsOfMalloc = 10, kPool = 17;
  const std::lock_guard<std::mutex> lock(state().mutex);
  if (which == kIsOfMalloc) *static_cast<int *>(value) = state().piece == 0;
  if (which == kPool) *static_cast<void **>(value) = nullptr;
  return which == kIsOfMalloc || which == kPool ? cudaSuccess : cudaErrorInvalidValue;
}

int refuse_tensor_map() {
  const std::lock_guard<std::mutex> lock(state().mutex);
  return state().tensor_maps;
}

}  // namespace

void set_error(const std::string &function, int error) {
  const std::lock_guard<std::mutex> lock(state().mutex);
  state().errors[function] = error;
}

void set_attribute(int attribute, int value) {
  const std::lock_guard<std::mutex> lock(state().mutex);
  state().attributes[attribute] = value;
}

void set_tensor_map_result(int result) {
  const std::lock_guard<std::mutex> lock(state().mutex);
  state().tensor_maps = result;
}

void set_memory(int type, int device) {
  const std::lock_guard<std::mutex> lock(state().mutex);
  state().memory_type = type;
  state().memory_device = device;
}

void set_mapped_pieces(size_t bytes) {
  const std::lock_guard<std::mutex> lock(state().mutex);
  state().piece = bytes;
}

void set_device_count(int count) {
  const std::lock_guard<std::mutex> lock(state().mutex);
  state().devices = count;
}

void set_current_context(const void *context) { context_of_thread = const_cast<void *>(context); }

const void *current_context() { return context_of_thread; }

int calls_of(const std::string &function) {
  const std::lock_guard<std::mutex> lock(state().mutex);
  const int calls = state().calls[function];
  state().calls[function] = 0;
  return calls;
}

void reset_fake_runtime() {
  const std::lock_guard<std::mutex> lock(state().mutex);
  state().errors.clear();
  state().attributes.clear();
  state().calls.clear();
  state().tensor_maps = 0;
  state().memory_type = state().memory_device = -1;
  state().piece = 0;
  state().devices = 1;
}

}  // namespace infonce::test

using infonce::test::next;
using infonce::test::real;

// A function's name after that of its version.
#define INFONCE_TEXT(name) #name
#define INFONCE_NAME(name) INFONCE_TEXT(name)

// Calls the function of that name, unless it is to fail.
#define INFONCE_FAKE(name, parameters, ...) \
  extern "C" __attribute__((visibility("default"))) cudaError_t name parameters { \
    static auto *const function = real<cudaError_t parameters>(#name); \
    const cudaError_t error = next(#name); \
    return error == cudaSuccess ? function(__VA_ARGS__) : error; \
  }

extern "C" __attribute__((visibility("default"))) cudaError_t cudaSetDevice(int device) {
  static auto *const function = real<cudaError_t(int)>("cudaSetDevice");
  const cudaError_t error = next("cudaSetDevice");
  if (error == cudaSuccess && device >= infonce::test::device_count()) {
    return cudaErrorInvalidDevice;
  }
  if (error == cudaSuccess) {
    infonce::test::set_context(&infonce::test::context_of_device[device]);
  }
  return error == cudaSuccess ? function(0) : error;
}
extern "C" __attribute__((visibility("default"))) cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int) {
  static auto *const function = real<cudaError_t(cudaDeviceProp *, int)>(INFONCE_NAME(cudaGetDeviceProperties));
  return function(properties, 0);
}
extern "C" __attribute__((visibility("default"))) cudaError_t cudaGetDevice(int *device) {
  *device = infonce::test::device_of_thread;
  return cudaSuccess;
}
extern "C" __attribute__((visibility("default"))) cudaError_t cudaGetDeviceCount(int *count) {
  *count = infonce::test::device_count();
  return next("cudaGetDeviceCount");
}
extern "C" __attribute__((visibility("default"))) cudaError_t cudaDeviceCanAccessPeer(int *can, int, int) {
  *can = 1;
  return next("cudaDeviceCanAccessPeer");
}
extern "C" __attribute__((visibility("default"))) cudaError_t cudaDeviceEnablePeerAccess(int, unsigned) {
  return next("cudaDeviceEnablePeerAccess");
}
extern "C" __attribute__((visibility("default"))) cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream,
                                                                                        unsigned flags) {
  static auto *const function = real<cudaError_t(cudaStream_t *, unsigned)>("cudaStreamCreateWithFlags");
  const cudaError_t error = function(stream, flags);
  const std::lock_guard<std::mutex> lock(infonce::test::state().mutex);
  infonce::test::state().stream_device[*stream] = infonce::test::device_of_thread;
  return error;
}
extern "C" __attribute__((visibility("default"))) cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes,
                                                                              cudaMemcpyKind kind,
                                                                              cudaStream_t stream) {
  static auto *const function =
      real<cudaError_t(void *, const void *, size_t, cudaMemcpyKind, cudaStream_t)>("cudaMemcpyAsync");
  using infonce::test::device_of;
  const bool is_between = kind == cudaMemcpyDefault && device_of(to) != device_of(from);
  const cudaError_t error = is_between ? next("copies between devices") : cudaSuccess;
  return error == cudaSuccess ? function(to, from, bytes, kind, stream) : error;
}
extern "C" __attribute__((visibility("default"))) cudaError_t cudaLaunchKernel(const void *kernel, dim3 grid,
                                                                               dim3 block, void **arguments,
                                                                               size_t shared, cudaStream_t stream) {
  static auto *const function =
      real<cudaError_t(const void *, dim3, dim3, void **, size_t, cudaStream_t)>("cudaLaunchKernel");
  const cudaError_t error = next("cudaLaunchKernel");
  if (error == cudaSuccess && infonce::test::is_of_other_device(stream)) {
    return cudaErrorInvalidResourceHandle;
  }
  return error == cudaSuccess ? function(kernel, grid, block, arguments, shared, stream) : error;
}
// A handle is the address of the allocation, in the process itself.
extern "C" __attribute__((visibility("default"))) cudaError_t cudaIpcGetMemHandle(cudaIpcMemHandle_t *handle,
                                                                                  void *memory) {
  const cudaError_t error = next("cudaIpcGetMemHandle");
  unsigned long long begin = 0;
  size_t size = 0;
  if (error == cudaSuccess &&
      infonce::test::get_address_range(&begin, &size, reinterpret_cast<uintptr_t>(memory)) == cudaSuccess) {
    std::memcpy(handle, &begin, sizeof(begin));
    return cudaSuccess;
  }
  return error == cudaSuccess ? cudaErrorInvalidValue : error;
}
extern "C" __attribute__((visibility("default"))) cudaError_t cudaIpcOpenMemHandle(void **memory,
                                                                                   cudaIpcMemHandle_t handle,
                                                                                   unsigned flags) {
  const cudaError_t error = next("cudaIpcOpenMemHandle");
  std::memcpy(memory, &handle, sizeof(*memory));
  return error == cudaSuccess && flags != cudaIpcMemLazyEnablePeerAccess ? cudaErrorInvalidValue : error;
}
extern "C" __attribute__((visibility("default"))) cudaError_t cudaIpcCloseMemHandle(void *) {
  return next("cudaIpcCloseMemHandle");
}
extern "C" __attribute__((visibility("default"))) cudaError_t cudaMalloc(void **memory, size_t bytes) {
  static auto *const function = real<cudaError_t(void **, size_t)>("cudaMalloc");
  cudaError_t error = next("cudaMalloc");
  if (error == cudaSuccess) {
    error = function(memory, bytes);
  }
  if (error == cudaSuccess && bytes > 0) {
    const std::lock_guard<std::mutex> lock(infonce::test::state().mutex);
    infonce::test::state().allocated[reinterpret_cast<uintptr_t>(*memory)] = bytes;
    infonce::test::state().device_of[reinterpret_cast<uintptr_t>(*memory)] = infonce::test::device_of_thread;
  }
  return error;
}
extern "C" __attribute__((visibility("default"))) cudaError_t cudaFree(void *memory) {
  static auto *const function = real<cudaError_t(void *)>("cudaFree");
  const cudaError_t error = next("cudaFree");
  if (error == cudaSuccess) {
    const std::lock_guard<std::mutex> lock(infonce::test::state().mutex);
    infonce::test::state().allocated.erase(reinterpret_cast<uintptr_t>(memory));
  }
  return error == cudaSuccess ? function(memory) : error;
}
extern "C" __attribute__((visibility("default"))) cudaError_t cudaPointerGetAttributes(
    cudaPointerAttributes *attributes, const void *pointer) {
  static auto *const function = real<cudaError_t(cudaPointerAttributes *, const void *)>("cudaPointerGetAttributes");
  const cudaError_t error = next("cudaPointerGetAttributes");
  if (error != cudaSuccess) {
    return error;
  }
  const cudaError_t answer = function(attributes, pointer);
  const std::lock_guard<std::mutex> lock(infonce::test::state().mutex);
  if (attributes->type == cudaMemoryTypeDevice && infonce::test::state().memory_type >= 0) {
    attributes->type = static_cast<cudaMemoryType>(infonce::test::state().memory_type);
    attributes->device = infonce::test::state().memory_device;
  } else if (attributes->type == cudaMemoryTypeDevice) {
    attributes->device = infonce::test::device_under_lock(pointer);
  }
  return answer;
}
INFONCE_FAKE(cudaEventRecord, (cudaEvent_t event, cudaStream_t stream), event, stream)
INFONCE_FAKE(cudaHostAlloc, (void **memory, size_t bytes, unsigned flags), memory, bytes, flags)
INFONCE_FAKE(cudaStreamSynchronize, (cudaStream_t stream), stream)
INFONCE_FAKE(cudaEventSynchronize, (cudaEvent_t event), event)

extern "C" __attribute__((visibility("default"))) cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(
    int *blocks, const void *kernel, int threads, size_t shared) {
  static auto *const function =
      real<cudaError_t(int *, const void *, int, size_t)>("cudaOccupancyMaxActiveBlocksPerMultiprocessor");
  // Its error stands for a kernel that does not fit.
  if (next("cudaOccupancyMaxActiveBlocksPerMultiprocessor") != cudaSuccess) {
    *blocks = 0;
    return cudaSuccess;
  }
  return function(blocks, kernel, threads, shared);
}

extern "C" __attribute__((visibility("default"))) cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr which,
                                                                                     int) {
  static auto *const function = real<cudaError_t(int *, cudaDeviceAttr, int)>("cudaDeviceGetAttribute");
  const cudaError_t error = function(value, which, 0);
  auto &state = infonce::test::state();
  const std::lock_guard<std::mutex> lock(state.mutex);
  const auto found = state.attributes.find(static_cast<int>(which));
  if (found != state.attributes.end()) {
    *value = found->second;
  }
  return error;
}

extern "C" __attribute__((visibility("default"))) cudaError_t cudaGetDriverEntryPointByVersion(
    const char *symbol, void **function, unsigned version, unsigned long long flags,
    cudaDriverEntryPointQueryResult *found) {
  static auto *const ask =
      real<cudaError_t(const char *, void **, unsigned, unsigned long long, cudaDriverEntryPointQueryResult *)>(
          "cudaGetDriverEntryPointByVersion");
  if (std::strcmp(symbol, "cuCtxGetCurrent") == 0 || std::strcmp(symbol, "cuCtxSetCurrent") == 0) {
    *function = std::strcmp(symbol, "cuCtxGetCurrent") == 0 ? reinterpret_cast<void *>(infonce::test::get_context)
                                                            : reinterpret_cast<void *>(infonce::test::set_context);
    *found = cudaDriverEntryPointSuccess;
    return cudaSuccess;
  }
  for (const auto &[name, own] :
       {std::pair("cuMemGetAddressRange", reinterpret_cast<void *>(infonce::test::get_address_range)),
        std::pair("cuPointerGetAttribute", reinterpret_cast<void *>(infonce::test::get_pointer_attribute))}) {
    if (std::strcmp(symbol, name) == 0) {
      *function = own;
      *found = cudaDriverEntryPointSuccess;
      return cudaSuccess;
    }
  }
  const cudaError_t error = ask(symbol, function, version, flags, found);
  if (std::strcmp(symbol, "cuTensorMapEncodeTiled") == 0) {
    static void *encode = nullptr;
    encode = *function;
    // A function with as many arguments as that of the driver.
    using Encode =
        int(void *, int, unsigned, void *, const void *, const void *, const void *, const void *, int, int, int, int);
    Encode *const stand_in = [](void *map, int type, unsigned rank, void *address, const void *sizes,
                                const void *strides, const void *box, const void *steps, int interleave, int swizzle,
                                int promotion, int fill) {
      const int refusal = infonce::test::refuse_tensor_map();
      if (refusal != 0) {
        return refusal;
      }
      return reinterpret_cast<Encode *>(encode)(map, type, rank, address, sizes, strides, box, steps, interleave,
                                                swizzle, promotion, fill);
    };
    *function = reinterpret_cast<void *>(stand_in);
  }
  return error;
}

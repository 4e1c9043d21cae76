#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <dlfcn.h>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

#include "test/nccl/stand_in.h"

#define EXPORTED extern "C" __attribute__((visibility("default")))

using DevicePointer = unsigned long long;

struct CUctx_st {};

// Work of the host, done in order by a thread of its own; or a stream of the runtime.
struct CUstream_st {
  void *real = nullptr;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::function<void()>> work;
  uint64_t queued = 0, done = 0;
  bool ends = false;
  std::thread thread;

  void start() {
    thread = std::thread([this] {
      std::unique_lock<std::mutex> lock(mutex);
      while (true) {
        changed.wait(lock, [this] { return ends || !work.empty(); });
        if (work.empty()) return;
        const std::function<void()> next = std::move(work.front());
        work.pop_front();
        lock.unlock();
        next();
        lock.lock();
        ++done;
        changed.notify_all();
      }
    });
  }
  void stop() {
    {
      const std::lock_guard<std::mutex> lock(mutex);
      ends = true;
    }
    changed.notify_all();
    thread.join();
  }
  void queue(std::function<void()> next) {
    const std::lock_guard<std::mutex> lock(mutex);
    work.push_back(std::move(next));
    ++queued;
    changed.notify_all();
  }
};

// With a runtime an event of that is one, whoever made it.
struct CUevent_st {
  CUstream_st *stream = nullptr;
  uint64_t after = 0;
};

namespace infonce::test {
namespace {

enum : int { kSuccess = 0, kInvalidValue = 1, kOutOfMemory = 2, kNoDevice = 100, kNotReady = 600 };
enum CopyKind : int { kToDevice = 1, kToHost = 2 };

// Of libcudart. Enumerations are numbers.
struct Runtime {
  int (*allocate)(void **, size_t);
  int (*free)(void *);
  int (*host_allocate)(void **, size_t, unsigned);
  int (*host_free)(void *);
  int (*copy)(void *, const void *, size_t, int);
  int (*copy_async)(void *, const void *, size_t, int, void *);
  int (*stream_create)(void **, unsigned);
  int (*stream_destroy)(void *);
  int (*stream_synchronize)(void *);
  int (*stream_wait_event)(void *, void *, unsigned);
  int (*pointer_attributes)(void *, const void *);
  int (*event_create)(void **, unsigned);
  int (*event_destroy)(void *);
  int (*event_record)(void *, void *);
  int (*event_query)(void *);
};

// Null: there is none.
const Runtime *runtime() {
  static const std::unique_ptr<Runtime> opened = []() -> std::unique_ptr<Runtime> {
    const char *path = std::getenv("INFONCE_TEST_CUDA_RUNTIME");
    void *handle = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : nullptr;
    if (!path) return nullptr;
    auto found = std::make_unique<Runtime>();
    const auto find = [&](const char *name, auto &function) {
      void *symbol = handle ? dlsym(handle, name) : nullptr;
      if (!symbol) std::abort();
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(symbol);
    };
    find("cudaMalloc", found->allocate);
    find("cudaFree", found->free);
    find("cudaHostAlloc", found->host_allocate);
    find("cudaFreeHost", found->host_free);
    find("cudaMemcpy", found->copy);
    find("cudaMemcpyAsync", found->copy_async);
    find("cudaStreamCreateWithFlags", found->stream_create);
    find("cudaStreamDestroy", found->stream_destroy);
    find("cudaStreamSynchronize", found->stream_synchronize);
    find("cudaStreamWaitEvent", found->stream_wait_event);
    find("cudaPointerGetAttributes", found->pointer_attributes);
    find("cudaEventCreateWithFlags", found->event_create);
    find("cudaEventDestroy", found->event_destroy);
    find("cudaEventRecord", found->event_record);
    find("cudaEventQuery", found->event_query);
    return found;
  }();
  return opened.get();
}

// Addresses of device memory that the host cannot use.
constexpr uintptr_t kOnDevice = uintptr_t{1} << 56;

struct State {
  std::mutex mutex;
  std::map<uintptr_t, size_t> locked, device;  // by address: how much
  std::atomic<int> live{0};
};

State &state() {
  static State &one = *new State;
  return one;
}

void remember(std::map<uintptr_t, size_t> &memory, const void *address, size_t size) {
  const std::lock_guard<std::mutex> lock(state().mutex);
  memory[reinterpret_cast<uintptr_t>(address)] = size;
  ++state().live;
}

bool forget(std::map<uintptr_t, size_t> &memory, const void *address) {
  const std::lock_guard<std::mutex> lock(state().mutex);
  if (memory.erase(reinterpret_cast<uintptr_t>(address)) == 0) return false;
  --state().live;
  return true;
}

bool holds(const std::map<uintptr_t, size_t> &memory, const void *address, size_t size) {
  const std::lock_guard<std::mutex> lock(state().mutex);
  const auto at = reinterpret_cast<uintptr_t>(address);
  auto next = memory.upper_bound(at);
  if (next == memory.begin()) return false;
  --next;
  return at + size <= next->first + next->second;
}

// Whoever allocated it.
bool is_on_device(const void *address, size_t size) {
  const Runtime *real = runtime();
  if (!real) return holds(state().device, address, size);
  struct {
    int type = 0;  // of memory: 2 is a device's
    char others[252];
  } first, last;
  const void *end = static_cast<const char *>(address) + size - 1;
  return real->pointer_attributes(&first, address) == kSuccess && real->pointer_attributes(&last, end) == kSuccess &&
         first.type == 2 && last.type == 2;
}

void *host_of(uintptr_t device) { return reinterpret_cast<void *>(device & ~kOnDevice); }

// What is no page-locked memory would be copied, and waited for, otherwise.
int copy(CUstream_st *stream, DevicePointer device, void *host, size_t size, CopyKind kind) {
  void *on_device = reinterpret_cast<void *>(device);
  if (!holds(state().locked, host, size) || !holds(state().device, on_device, size)) return kInvalidValue;
  if (const Runtime *real = runtime())
    return kind == kToDevice ? real->copy_async(on_device, host, size, kind, stream->real)
                             : real->copy_async(host, on_device, size, kind, stream->real);
  void *memory = host_of(device);
  stream->queue([=] { kind == kToDevice ? std::memcpy(memory, host, size) : std::memcpy(host, memory, size); });
  return kSuccess;
}

}  // namespace

void read_device(void *to, const void *device, size_t count) {
  if (!is_on_device(device, count)) std::abort();
  if (const Runtime *real = runtime()) real->copy(to, device, count, kToHost);
  else std::memcpy(to, host_of(reinterpret_cast<uintptr_t>(device)), count);
}

void write_device(void *device, const void *from, size_t count) {
  if (!is_on_device(device, count)) std::abort();
  if (const Runtime *real = runtime()) real->copy(device, from, count, kToDevice);
  else std::memcpy(host_of(reinterpret_cast<uintptr_t>(device)), from, count);
}

void do_in_stream(CUstream_st *stream, std::function<void()> work, const std::function<void()> &queued) {
  const Runtime *real = runtime();
  if (!real) {
    stream->queue(std::move(work));
    return queued();
  }
  void *event = nullptr;
  real->event_create(&event, 0);
  real->event_record(event, stream->real);
  while (real->event_query(event) == kNotReady) std::this_thread::sleep_for(std::chrono::microseconds(50));
  real->event_destroy(event);
  work();
  queued();
}

}  // namespace infonce::test

using namespace infonce::test;

EXPORTED int infonce_test_live_objects() { return state().live; }

EXPORTED int cuInit(unsigned) { return std::getenv("INFONCE_TEST_NO_GPU") ? kNoDevice : kSuccess; }

EXPORTED int cuGetErrorString(int error, const char **text) {
  *text = error == kNoDevice ? "no CUDA-capable device is detected" : "an error of the stand-in";
  return kSuccess;
}

EXPORTED int cuDeviceGetCount(int *count) {
  *count = 8;
  return kSuccess;
}

EXPORTED int cuDeviceGet(int *device, int ordinal) {
  *device = ordinal;
  return kSuccess;
}

EXPORTED int cuDevicePrimaryCtxRetain(CUctx_st **context, int) {
  static CUctx_st one;
  *context = &one;
  ++state().live;
  return kSuccess;
}

EXPORTED int cuDevicePrimaryCtxRelease_v2(int) {
  --state().live;
  return kSuccess;
}

EXPORTED int cuCtxSetCurrent(CUctx_st *) { return kSuccess; }

EXPORTED int cuMemAlloc_v2(DevicePointer *memory, size_t size) {
  void *address = nullptr;
  if (const Runtime *real = runtime()) {
    if (const int error = real->allocate(&address, size)) return error;
  } else {
    address = reinterpret_cast<void *>(reinterpret_cast<uintptr_t>(std::malloc(size)) | kOnDevice);
  }
  remember(state().device, address, size);
  *memory = reinterpret_cast<DevicePointer>(address);
  return kSuccess;
}

EXPORTED int cuMemFree_v2(DevicePointer memory) {
  void *address = reinterpret_cast<void *>(memory);
  if (!forget(state().device, address)) return kInvalidValue;
  if (const Runtime *real = runtime()) return real->free(address);
  std::free(host_of(memory));
  return kSuccess;
}

EXPORTED int cuMemHostAlloc(void **memory, size_t size, unsigned) {
  if (const Runtime *real = runtime()) {
    if (const int error = real->host_allocate(memory, size, 0)) return error;
  } else {
    *memory = std::malloc(size);
  }
  remember(state().locked, *memory, size);
  return kSuccess;
}

EXPORTED int cuMemFreeHost(void *memory) {
  if (!forget(state().locked, memory)) return kInvalidValue;
  if (const Runtime *real = runtime()) return real->host_free(memory);
  std::free(memory);
  return kSuccess;
}

EXPORTED int cuMemcpyHtoDAsync_v2(DevicePointer to, const void *from, size_t size, CUstream_st *stream) {
  return copy(stream, to, const_cast<void *>(from), size, kToDevice);
}

EXPORTED int cuMemcpyDtoHAsync_v2(void *to, DevicePointer from, size_t size, CUstream_st *stream) {
  return copy(stream, from, to, size, kToHost);
}

EXPORTED int cuStreamCreate(CUstream_st **stream, unsigned flags) {
  *stream = new CUstream_st;
  ++state().live;
  if (const Runtime *real = runtime()) return real->stream_create(&(*stream)->real, flags);
  (*stream)->start();
  return kSuccess;
}

EXPORTED int cuStreamDestroy_v2(CUstream_st *stream) {
  if (const Runtime *real = runtime()) real->stream_destroy(stream->real);
  else stream->stop();
  delete stream;
  --state().live;
  return kSuccess;
}

EXPORTED int cuStreamSynchronize(CUstream_st *stream) {
  if (const Runtime *real = runtime()) return real->stream_synchronize(stream->real);
  std::unique_lock<std::mutex> lock(stream->mutex);
  stream->changed.wait(lock, [stream] { return stream->done == stream->queued; });
  return kSuccess;
}

// What a stream of the host has done when it comes to an event, others need not have.
EXPORTED int cuStreamWaitEvent(CUstream_st *stream, CUevent_st *event, unsigned flags) {
  if (const Runtime *real = runtime()) return real->stream_wait_event(stream->real, event, flags);
  CUstream_st *const other = event->stream;
  if (!other) return kSuccess;
  stream->queue([other, after = event->after] {
    std::unique_lock<std::mutex> lock(other->mutex);
    other->changed.wait(lock, [=] { return other->done >= after; });
  });
  return kSuccess;
}

EXPORTED int cuEventCreate(CUevent_st **event, unsigned flags) {
  ++state().live;
  if (const Runtime *real = runtime()) return real->event_create(reinterpret_cast<void **>(event), flags);
  *event = new CUevent_st;
  return kSuccess;
}

EXPORTED int cuEventDestroy_v2(CUevent_st *event) {
  if (const Runtime *real = runtime()) real->event_destroy(event);
  else delete event;
  --state().live;
  return kSuccess;
}

EXPORTED int cuEventRecord(CUevent_st *event, CUstream_st *stream) {
  if (const Runtime *real = runtime()) return real->event_record(event, stream->real);
  const std::lock_guard<std::mutex> lock(stream->mutex);
  event->stream = stream;
  event->after = stream->queued;
  return kSuccess;
}

EXPORTED int cuEventQuery(CUevent_st *event) {
  if (const Runtime *real = runtime()) return real->event_query(event);
  if (!event->stream) return kSuccess;
  const std::lock_guard<std::mutex> lock(event->stream->mutex);
  return event->stream->done >= event->after ? kSuccess : kNotReady;
}

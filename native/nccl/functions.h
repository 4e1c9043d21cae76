// What is called of NCCL and of the CUDA driver. Written here because neither nccl.h nor cuda.h is there when this is
// compiled; native/test/nccl compares them, where they are.
// https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/api.html, https://docs.nvidia.com/cuda/cuda-driver-api
#pragma once

#include <cstddef>

// Named as in nccl.h and cuda.h, so that types of functions can be compared.
struct ncclComm;
struct CUctx_st;
struct CUevent_st;
struct CUstream_st;

namespace infonce::nccl {

// ncclResult_t
constexpr int kSuccess = 0;
constexpr int kInProgress = 7;
constexpr int kUint8 = 1;  // ncclDataType_t

struct UniqueId {
  char bytes[128];
};

// ncclConfig_t as it was first, in NCCL 2.14: later ones only add to it, and read of it as much as its version has.
struct Config {
  size_t size;
  unsigned magic;
  unsigned version;
  int blocking;
};
constexpr unsigned kConfigMagic = 0xcafebeef;
constexpr int kOldestVersion = 21400;  // NCCL_VERSION(2, 14, 0)

// The enumerations of C are numbers.
struct Numbers {
  using Result = int;
  using Type = int;
  using Id = UniqueId;
  using Config = nccl::Config;
};

// All of it in NCCL 2.14.
template <typename T> struct NcclFunctions {
  using Comm = ncclComm *;
  using Stream = CUstream_st *;
  typename T::Result (*get_version)(int *version);
  typename T::Result (*get_unique_id)(typename T::Id *id);
  const char *(*get_error_string)(typename T::Result result);
  const char *(*get_last_error)(Comm comm);
  typename T::Result (*comm_init_rank_config)(Comm *comm, int size, typename T::Id id, int rank,
                                              typename T::Config *config);
  typename T::Result (*comm_get_async_error)(Comm comm, typename T::Result *error);
  typename T::Result (*comm_finalize)(Comm comm);
  typename T::Result (*comm_destroy)(Comm comm);
  typename T::Result (*comm_abort)(Comm comm);
  typename T::Result (*group_start)();
  typename T::Result (*group_end)();
  typename T::Result (*send)(const void *bytes, size_t count, typename T::Type type, int to, Comm comm, Stream stream);
  typename T::Result (*recv)(void *bytes, size_t count, typename T::Type type, int from, Comm comm, Stream stream);

  // Calls `visit(name, function)` for each.
  template <typename Visit> void for_each(Visit visit) {
    visit("ncclGetVersion", get_version);
    visit("ncclGetUniqueId", get_unique_id);
    visit("ncclGetErrorString", get_error_string);
    visit("ncclGetLastError", get_last_error);
    visit("ncclCommInitRankConfig", comm_init_rank_config);
    visit("ncclCommGetAsyncError", comm_get_async_error);
    visit("ncclCommFinalize", comm_finalize);
    visit("ncclCommDestroy", comm_destroy);
    visit("ncclCommAbort", comm_abort);
    visit("ncclGroupStart", group_start);
    visit("ncclGroupEnd", group_end);
    visit("ncclSend", send);
    visit("ncclRecv", recv);
  }
};

using DevicePointer = unsigned long long;  // CUdeviceptr

// CUresult
constexpr int kNotReady = 600;
constexpr unsigned kNonBlockingStream = 1;         // CU_STREAM_NON_BLOCKING
constexpr unsigned kEventWithoutTiming = 2;        // CU_EVENT_DISABLE_TIMING
constexpr unsigned kHostMemoryForAllContexts = 1;  // CU_MEMHOSTALLOC_PORTABLE

template <typename Result> struct DriverFunctions {
  Result (*init)(unsigned flags);
  Result (*get_error_string)(Result result, const char **text);
  Result (*device_get_count)(int *count);
  Result (*device_get)(int *device, int ordinal);
  Result (*primary_context_retain)(CUctx_st **context, int device);
  Result (*primary_context_release)(int device);
  Result (*context_set_current)(CUctx_st *context);
  Result (*allocate)(DevicePointer *memory, size_t size);
  Result (*free)(DevicePointer memory);
  Result (*host_allocate)(void **memory, size_t size, unsigned flags);
  Result (*host_free)(void *memory);
  Result (*copy_to_device)(DevicePointer to, const void *from, size_t size, CUstream_st *stream);
  Result (*copy_to_host)(void *to, DevicePointer from, size_t size, CUstream_st *stream);
  Result (*stream_create)(CUstream_st **stream, unsigned flags);
  Result (*stream_destroy)(CUstream_st *stream);
  Result (*stream_synchronize)(CUstream_st *stream);
  Result (*stream_wait_event)(CUstream_st *stream, CUevent_st *event, unsigned flags);
  Result (*event_create)(CUevent_st **event, unsigned flags);
  Result (*event_destroy)(CUevent_st *event);
  Result (*event_record)(CUevent_st *event, CUstream_st *stream);
  Result (*event_query)(CUevent_st *event);

  template <typename Visit> void for_each(Visit visit) {
    visit("cuInit", init);
    visit("cuGetErrorString", get_error_string);
    visit("cuDeviceGetCount", device_get_count);
    visit("cuDeviceGet", device_get);
    visit("cuDevicePrimaryCtxRetain", primary_context_retain);
    visit("cuDevicePrimaryCtxRelease_v2", primary_context_release);
    visit("cuCtxSetCurrent", context_set_current);
    visit("cuMemAlloc_v2", allocate);
    visit("cuMemFree_v2", free);
    visit("cuMemHostAlloc", host_allocate);
    visit("cuMemFreeHost", host_free);
    visit("cuMemcpyHtoDAsync_v2", copy_to_device);
    visit("cuMemcpyDtoHAsync_v2", copy_to_host);
    visit("cuStreamCreate", stream_create);
    visit("cuStreamDestroy_v2", stream_destroy);
    visit("cuStreamSynchronize", stream_synchronize);
    visit("cuStreamWaitEvent", stream_wait_event);
    visit("cuEventCreate", event_create);
    visit("cuEventDestroy_v2", event_destroy);
    visit("cuEventRecord", event_record);
    visit("cuEventQuery", event_query);
  }
};

using Nccl = NcclFunctions<Numbers>;
using Driver = DriverFunctions<int>;

}  // namespace infonce::nccl

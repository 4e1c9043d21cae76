// What nccl.h and cuda.h say of the functions and numbers that are called is what native/nccl says. Compiled where both are.
#include <cuda.h>
#ifdef INFONCE_WITH_NCCL_H
#include <nccl.h>
#endif

#include <type_traits>

#include "nccl/functions.h"

namespace infonce::nccl {

template <class A, class B> constexpr bool kSame = std::is_same_v<A, B>;

#define INFONCE_SAME(member, name) static_assert(kSame<decltype(Functions::member), decltype(&name)>, #name)

namespace driver {
using Functions = DriverFunctions<CUresult>;
INFONCE_SAME(init, cuInit);
INFONCE_SAME(get_error_string, cuGetErrorString);
INFONCE_SAME(device_get_count, cuDeviceGetCount);
INFONCE_SAME(device_get, cuDeviceGet);
INFONCE_SAME(primary_context_retain, cuDevicePrimaryCtxRetain);
INFONCE_SAME(primary_context_release, cuDevicePrimaryCtxRelease);
INFONCE_SAME(context_set_current, cuCtxSetCurrent);
INFONCE_SAME(allocate, cuMemAlloc);
INFONCE_SAME(free, cuMemFree);
INFONCE_SAME(host_allocate, cuMemHostAlloc);
INFONCE_SAME(host_free, cuMemFreeHost);
INFONCE_SAME(copy_to_device, cuMemcpyHtoDAsync);
INFONCE_SAME(copy_to_host, cuMemcpyDtoHAsync);
INFONCE_SAME(stream_create, cuStreamCreate);
INFONCE_SAME(stream_destroy, cuStreamDestroy);
INFONCE_SAME(stream_synchronize, cuStreamSynchronize);
INFONCE_SAME(stream_wait_event, cuStreamWaitEvent);
INFONCE_SAME(event_create, cuEventCreate);
INFONCE_SAME(event_destroy, cuEventDestroy);
INFONCE_SAME(event_record, cuEventRecord);
INFONCE_SAME(event_query, cuEventQuery);
static_assert(sizeof(CUresult) == sizeof(int) && CUDA_SUCCESS == kSuccess && CUDA_ERROR_NOT_READY == kNotReady);
static_assert(CU_STREAM_NON_BLOCKING == kNonBlockingStream && CU_EVENT_DISABLE_TIMING == kEventWithoutTiming);
static_assert(CU_MEMHOSTALLOC_PORTABLE == kHostMemoryForAllContexts);
}  // namespace driver

#ifdef INFONCE_WITH_NCCL_H
namespace library {
struct Types {
  using Result = ncclResult_t;
  using Type = ncclDataType_t;
  using Id = ncclUniqueId;
  using Config = ncclConfig_t;
};
using Functions = NcclFunctions<Types>;
INFONCE_SAME(get_version, ncclGetVersion);
INFONCE_SAME(get_unique_id, ncclGetUniqueId);
INFONCE_SAME(get_error_string, ncclGetErrorString);
INFONCE_SAME(get_last_error, ncclGetLastError);
INFONCE_SAME(comm_init_rank_config, ncclCommInitRankConfig);
INFONCE_SAME(comm_get_async_error, ncclCommGetAsyncError);
INFONCE_SAME(comm_finalize, ncclCommFinalize);
INFONCE_SAME(comm_destroy, ncclCommDestroy);
INFONCE_SAME(comm_abort, ncclCommAbort);
INFONCE_SAME(group_start, ncclGroupStart);
INFONCE_SAME(group_end, ncclGroupEnd);
INFONCE_SAME(send, ncclSend);
INFONCE_SAME(recv, ncclRecv);
static_assert(sizeof(ncclResult_t) == sizeof(int) && ncclSuccess == kSuccess && ncclInProgress == kInProgress);
static_assert(sizeof(ncclDataType_t) == sizeof(int) && ncclUint8 == kUint8);
static_assert(sizeof(ncclUniqueId) == sizeof(UniqueId) && NCCL_VERSION(2, 14, 0) == kOldestVersion);
static_assert(offsetof(ncclConfig_t, size) == offsetof(Config, size) && sizeof(ncclConfig_t) >= sizeof(Config));
static_assert(offsetof(ncclConfig_t, magic) == offsetof(Config, magic));
static_assert(offsetof(ncclConfig_t, version) == offsetof(Config, version));
static_assert(offsetof(ncclConfig_t, blocking) == offsetof(Config, blocking));
}  // namespace library
#endif

}  // namespace infonce::nccl

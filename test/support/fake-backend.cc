// A backend that computes nothing: what a test wants to see of the way between JavaScript and a backend's library.
// Compiled by the tests, with -D for what is to be wrong with it: some sixty times, so it includes what is read fast.
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "infonce/infonce.h"

#ifndef FAKE_ABI
#define FAKE_ABI INFONCE_ABI_VERSION
#endif
#ifndef FAKE_NAME
#define FAKE_NAME "Fake GPU"
#endif
#ifndef FAKE_COUNT
#define FAKE_COUNT 1
#endif
#ifndef FAKE_COUNT_FAILURE
#define FAKE_COUNT_FAILURE ""
#endif
#ifndef FAKE_NOTE
#define FAKE_NOTE ""
#endif
#ifndef FAKE_SET
#define FAKE_SET "sm90"
#endif
// What of the library a `device` runs.
#ifndef FAKE_CODE
#define FAKE_CODE "sm_90a"
#endif
#ifndef FAKE_DRIVER
#define FAKE_DRIVER 13010
#endif
#ifndef FAKE_RUNTIME
#define FAKE_RUNTIME 13000
#endif
// The device that is refused, and why.
#ifndef FAKE_OLD_DEVICE
#define FAKE_OLD_DEVICE (-1)
#endif
#ifndef FAKE_REFUSAL
#define FAKE_REFUSAL "compute capability 7.5 is below 8.0"
#endif
// Memory of so many bytes has no handle.
#ifndef FAKE_POOL_BYTES
#define FAKE_POOL_BYTES 48
#endif
#ifndef FAKE_BUSY
#define FAKE_BUSY 0
#endif

// Where calls can be begun and ended apart: how many have room at once. 0: they cannot.
#ifndef FAKE_ROOM
#define FAKE_ROOM 0
#endif
// The call of a context, counted from 1, that loses the device. 0: none.
#ifndef FAKE_FAULT
#define FAKE_FAULT 0
#endif
// What happens in place of the work: std::abort(), raise(SIGSEGV), pause() …
#ifndef FAKE_IN_COUNT
#define FAKE_IN_COUNT
#endif
#ifndef FAKE_IN_CREATE
#define FAKE_IN_CREATE
#endif
#ifndef FAKE_IN_RUN
#define FAKE_IN_RUN
#endif
#ifndef FAKE_IN_END
#define FAKE_IN_END
#endif

struct infonce_context {
  infonce_context_options options;
  int calls = 0;
  int in_flight = 0;
  int refused = 0;
  int64_t begun = 0, ended = 0;
  int64_t opened = 0;  // of other processes
};

struct infonce_call {
  infonce_result *result;
  int64_t number, rows;
};

namespace {

int contexts = 0;  // that were made

// Memory of the devices, which is the host's: what there is, and whose.
struct Block {
  char *begin;
  int64_t bytes;
  int device;
};
Block blocks[64];

infonce_status fail(infonce_failure *failure, infonce_status status, const char *message) {
  std::snprintf(failure->message, sizeof failure->message, "%s", message);
  return status;
}

int32_t device_count(infonce_failure *failure) {
  FAKE_IN_COUNT;
  fail(failure, INFONCE_OK, FAKE_COUNT_FAILURE);
  return FAKE_COUNT;
}

infonce_status device_info(int32_t device, infonce_device_info *info, infonce_failure *failure) {
  if (device == FAKE_OLD_DEVICE) return fail(failure, INFONCE_DEVICE_UNAVAILABLE, FAKE_REFUSAL);
  info->memory = int64_t(80) << 30;
  std::strcpy(info->name, FAKE_NAME);
  std::strcpy(info->instruction_set, FAKE_SET);
  std::strcpy(info->instruction_sets, "sm90 sm80");
  std::strcpy(info->medium, "bfloat16");
  std::strcpy(info->capability, "9.0");
  std::strcpy(info->code, FAKE_CODE);
  std::strcpy(info->note, FAKE_NOTE);
  info->driver_version = FAKE_DRIVER;
  info->runtime_version = FAKE_RUNTIME;
  return INFONCE_OK;
}

infonce_status context_create(const infonce_context_options *options, infonce_context **context,
                              infonce_failure *failure) {
  FAKE_IN_CREATE;
  if (options->stream == reinterpret_cast<void *>(404))
    return fail(failure, INFONCE_INVALID_ARGUMENT, "a handle that is no stream");
  const int device = options->device;
  if (FAKE_BUSY) return fail(failure, INFONCE_OUT_OF_MEMORY, "the device's memory is used up");
  *context = new infonce_context{};
  ++contexts;
  (*context)->options = *options;
  return INFONCE_OK;
}

void context_destroy(infonce_context *context) { delete context; }

// Says what it was called with: the loss is the number of rows, the gradient that of the device.
infonce_status run(infonce_context *context, const infonce_problem *problem, infonce_result *result,
                   infonce_failure *failure) {
  FAKE_IN_RUN;
  if (FAKE_FAULT && ++context->calls >= FAKE_FAULT) return fail(failure, INFONCE_DEVICE_LOST, "it fell off the bus");
  const infonce_matrix &anchors = problem->matrices[0];
  result->scalars.loss = double(anchors.rows);
  result->scalars.top1 = context->options.precision;
  result->scalars.top5 = context->options.threads;
  float *gradient = result->gradients[0].data;
  for (int64_t k = 0; k < anchors.rows * problem->dim; ++k) gradient[k] = float(context->options.device);
  if (!context->options.measure) return INFONCE_OK;
  result->upload_seconds = 1;
  result->kernel_seconds = 2;
  result->download_seconds = 3;
  return INFONCE_OK;
}

// Says at the end of a call how many were in flight, and how many have found no room so far.
infonce_status begin(infonce_context *context, const infonce_problem *problem, infonce_result *result,
                     infonce_call **call, infonce_failure *failure) {
  if (context->in_flight == FAKE_ROOM) {
    ++context->refused;
    return fail(failure, INFONCE_OUT_OF_MEMORY, "no room for another call");
  }
  ++context->in_flight;
  *call = new infonce_call{result, ++context->begun, problem->matrices[0].rows};
  return INFONCE_OK;
}

infonce_status end(infonce_context *context, infonce_call *call, infonce_failure *failure) {
  const infonce_call ending = *call;
  delete call;
  FAKE_IN_END;
  ending.result->scalars.loss = double(ending.rows);
  ending.result->scalars.top1 = context->in_flight--;
  ending.result->scalars.top5 = context->refused;
  return ending.number == ++context->ended ? INFONCE_OK : fail(failure, INFONCE_INTERNAL, "calls ended out of order");
}

// Says whether kernels are traced, and how much memory of other processes is open.
infonce_status trim(infonce_context *context, int64_t *freed, infonce_failure *) {
  *freed = (context->options.trace ? 1 << 20 : 0) + context->opened;
  return INFONCE_OK;
}

infonce_status allocate(infonce_context *context, int64_t bytes, void **memory, infonce_failure *failure) {
  for (Block &block : blocks) {
    if (block.begin) continue;
    block = {static_cast<char *>(std::calloc(size_t(bytes), 1)), bytes, context->options.device};
    *memory = block.begin;
    return INFONCE_OK;
  }
  return fail(failure, INFONCE_OUT_OF_MEMORY, "no block is left");
}

void release(infonce_context *, void *memory) {
  for (Block &block : blocks)
    if (block.begin == memory) block = {};
  std::free(memory);
}

infonce_status copy(infonce_context *, void *to, const void *from, int64_t bytes, int32_t, infonce_failure *) {
  std::memcpy(to, from, size_t(bytes));
  return INFONCE_OK;
}

infonce_status examine(infonce_context *context, const void *memory, int64_t bytes, infonce_failure *failure) {
  const char *begin = static_cast<const char *>(memory);
  for (const Block &block : blocks) {
    if (!block.begin || begin < block.begin || begin >= block.begin + block.bytes) continue;
    if (block.device != context->options.device) return fail(failure, INFONCE_INVALID_ARGUMENT, "another device's");
    if (bytes <= block.begin + block.bytes - begin) return INFONCE_OK;
    return fail(failure, INFONCE_INVALID_ARGUMENT, "too short");
  }
  return fail(failure, INFONCE_INVALID_ARGUMENT, "no memory of a device");
}

// A handle says where the memory is, in the process itself.
infonce_status export_memory(infonce_context *, const void *memory, infonce_memory_handle *handle,
                             infonce_failure *failure) {
  const char *begin = static_cast<const char *>(memory);
  for (const Block &block : blocks) {
    if (!block.begin || begin < block.begin || begin >= block.begin + block.bytes) continue;
    if (block.bytes == FAKE_POOL_BYTES) return fail(failure, INFONCE_INVALID_ARGUMENT, "memory of a pool");
    std::memcpy(handle->bytes, &block.begin, sizeof block.begin);
    handle->offset = begin - block.begin;
    return INFONCE_OK;
  }
  return fail(failure, INFONCE_INVALID_ARGUMENT, "no memory of a device");
}

infonce_status open_memory(infonce_context *context, const infonce_memory_handle *handle, int64_t bytes, void **opened,
                           void **memory, infonce_failure *failure) {
  std::memcpy(opened, handle->bytes, sizeof *opened);
  *memory = static_cast<char *>(*opened) + handle->offset;
  const infonce_status status = examine(context, *memory, bytes, failure);
  context->opened += status == INFONCE_OK;
  return status;
}

void close_memory(infonce_context *context, void *) { --context->opened; }

infonce_backend table() {
  infonce_backend backend{};
  backend.struct_size = sizeof backend;
  backend.abi_version = FAKE_ABI;
  backend.name = "cuda";
  backend.device_count = device_count;
  backend.device_info = device_info;
  backend.context_create = context_create;
  backend.context_destroy = context_destroy;
  backend.run = run;
  backend.trim = trim;
  backend.allocate = allocate;
  backend.release = release;
  backend.copy = copy;
  backend.examine = examine;
  backend.export_memory = export_memory;
  backend.open_memory = open_memory;
  backend.close_memory = close_memory;
  if (FAKE_ROOM) {
    backend.begin = begin;
    backend.end = end;
  }
  return backend;
}

const infonce_backend backend = table();

}  // namespace

#ifdef FAKE_ENTRY
#define infonce_shared_backend FAKE_ENTRY
#endif

extern "C" __attribute__((visibility("default"))) const infonce_backend *infonce_shared_backend(
    uint32_t abi_version, uint32_t, infonce_failure *failure) {
#ifdef FAKE_REFUSES
  std::snprintf(failure->message, sizeof failure->message, "built for interface version %d", FAKE_ABI);
  return abi_version == FAKE_ABI ? &backend : nullptr;
#else
  (void)abi_version, (void)failure;
  return &backend;
#endif
}

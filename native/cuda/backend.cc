// The CUDA backend's table: checks calls, keeps exceptions inside.
#include <cuda_runtime.h>

#include <cstring>
#include <limits>
#include <mutex>
#include <string>

#include "common/call.h"
#include "cuda/call.h"
#include "cuda/device.h"
#include "infonce/infonce.h"

#ifdef _WIN32
#define INFONCE_EXPORT __declspec(dllexport)
#else
#define INFONCE_EXPORT __attribute__((visibility("default")))
#endif

struct infonce_context {
  infonce_context(int32_t device_index, infonce_precision level, cudaStream_t stream, bool measure)
      : device(device_index), precision(level), resources(stream, measure) {}

  std::mutex mutex;
  int32_t device;
  infonce_precision precision;
  infonce::cuda::Resources resources;
  std::string fault;  // that has taken the device from this context
};

namespace infonce::cuda {
namespace {

constexpr const char *kPath = "sm80";

// Runs `body` with `device` as this thread's, and returns its status.
template <class Body> infonce_status guarded_on_device(int32_t device, infonce_failure *failure, Body &&body) {
  return guarded(failure, [&] {
    try {
      check(cudaSetDevice(device), "selecting the device");
      return body();
    } catch (const Error &error) {
      if (!error.out_of_memory()) throw;
      return fail(failure, INFONCE_OUT_OF_MEMORY, INFONCE_INPUT_NONE, -1, "%s", error.what());
    }
  });
}

infonce_status context_create(const infonce_context_options *options, infonce_context **context,
                              infonce_failure *failure) {
  *context = nullptr;
  if (options->struct_size != sizeof *options) return invalid(failure, "struct_size does not match this library's");
  if (options->precision < INFONCE_PRECISION_HIGHEST || options->precision > INFONCE_PRECISION_MEDIUM)
    return invalid(failure, "unknown precision");
  if (options->instruction_set && std::string(options->instruction_set) != kPath)
    return fail(failure, INFONCE_DEVICE_UNAVAILABLE, INFONCE_INPUT_NONE, -1, "this backend has no kernels '%s'",
                options->instruction_set);
  if (const infonce_status status = check_device(options->device, failure)) return status;
  return guarded_on_device(options->device, failure, [&] {
    *context = new infonce_context(options->device, infonce_precision(options->precision),
                                   static_cast<cudaStream_t>(options->stream), options->measure != 0);
    return INFONCE_OK;
  });
}

// Runs `body` as a call of this context, unless an earlier one has lost the device.
template <class Body> infonce_status call_on(infonce_context &context, infonce_failure *failure, Body &&body) {
  const std::lock_guard<std::mutex> lock(context.mutex);
  if (!context.fault.empty())
    return fail(failure, INFONCE_INTERNAL, INFONCE_INPUT_NONE, -1, "the context has lost its device: %s",
                context.fault.c_str());
  return guarded_on_device(context.device, failure, [&] {
    try {
      return body();
    } catch (const Error &error) {
      if (error.is_fault()) context.fault = error.what();
      throw;
    }
  });
}

constexpr int kNaNBytes = 0xff;  // every float of such bytes is NaN

void fill_with_nan(Stream &stream, bool on_device, float *values, int64_t count) {
  if (!values || count == 0) return;
  if (!on_device)
    std::memset(values, kNaNBytes, size_t(count) * sizeof *values);
  else
    check(cudaMemsetAsync(values, kNaNBytes, size_t(count) * sizeof *values, stream.handle()), "filling with NaN");
}

void fill_with_nan(Stream &stream, const infonce_problem &problem, infonce_result *result) {
  result->loss = result->grad_scale = result->top1 = result->top5 = std::numeric_limits<double>::quiet_NaN();
  for_each_result(problem, *result,
                  [&](float *values, int64_t count) { fill_with_nan(stream, problem.on_device != 0, values, count); });
  stream.synchronize();
}

void context_destroy(infonce_context *context) {
  if (!context) return;
  guarded_on_device(context->device, nullptr, [&] {
    cudaStreamSynchronize(context->resources.stream.handle());  // a call may have returned before its work was done
    delete context;
    return INFONCE_OK;
  });
}

infonce_status run(infonce_context *context, const infonce_problem *problem, infonce_result *result,
                   infonce_failure *failure) {
  if (const char *wrong = what_is_wrong(*problem, *result)) return invalid(failure, wrong);
  return call_on(*context, failure, [&] {
    const BadRow bad = Call(*problem, result, context->precision, context->resources).run();
    if (bad.row < 0) return INFONCE_OK;
    if (!problem->propagate_non_finite) return non_finite(failure, bad.input, bad.row);
    fill_with_nan(context->resources.stream, *problem, result);
    return INFONCE_OK;
  });
}

infonce_status logits(infonce_context *context, const infonce_problem *problem, float *out, infonce_failure *failure) {
  infonce_problem p = *problem;
  if (const char *wrong = what_is_wrong_with_logits(&p, out)) return invalid(failure, wrong);
  return call_on(*context, failure, [&] {
    infonce_result unused{};
    const BadRow bad = Call(p, &unused, INFONCE_PRECISION_HIGHEST, context->resources, out).run_logits();
    if (bad.row < 0) return INFONCE_OK;
    if (!p.propagate_non_finite) return non_finite(failure, bad.input, bad.row);
    fill_with_nan(context->resources.stream, p.on_device != 0, out, p.rows * (p.rows - 1));
    return INFONCE_OK;
  });
}

const infonce_backend kBackend = {sizeof(infonce_backend), INFONCE_ABI_VERSION, "cuda", device_count, device_info,
                                  context_create,          context_destroy,     run, nullptr, nullptr, nullptr, nullptr, nullptr,   logits, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr};

}  // namespace
}  // namespace infonce::cuda

extern "C" INFONCE_EXPORT const infonce_backend *infonce_shared_backend(uint32_t abi_version, uint32_t backend_size,
                                                                        infonce_failure *failure) {
  if (abi_version == INFONCE_ABI_VERSION && backend_size == sizeof(infonce_backend)) return &infonce::cuda::kBackend;
  infonce::fail(failure, INFONCE_DEVICE_UNAVAILABLE, INFONCE_INPUT_NONE, -1,
                "the CUDA backend has interface version %d, the addon %u: build both from the same sources",
                INFONCE_ABI_VERSION, static_cast<unsigned>(abi_version));
  return nullptr;
}

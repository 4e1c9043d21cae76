// The CUDA backend's table: checks calls, keeps exceptions inside.
#include <cuda_runtime.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "common/call.h"
#include "cuda/capture.h"
#include "cuda/context.h"
#include "cuda/current_device.h"
#include "cuda/device.h"
#include "cuda/foreign_memory.h"
#include "cuda/host_memory.h"
#include "cuda/memory_handle.h"
#include "cuda/peers.h"
#include "cuda/tensor_maps.h"
#include "infonce/infonce.h"

#ifdef _WIN32
#define INFONCE_EXPORT __declspec(dllexport)
#else
#define INFONCE_EXPORT __attribute__((visibility("default")))
#endif

struct infonce_context {
  infonce::cuda::Context on_device;
};

namespace infonce::cuda {
namespace {

constexpr const char *kNegativeSize = "memory of a negative size";
constexpr const char *kSizesDiffer = "struct_size does not match this library's";

infonce_status fail_without_row(infonce_failure *failure, infonce_status status, const std::string &message) {
  return fail(failure, status, INFONCE_NO_MATRIX, -1, "%s", message.c_str());
}

// Runs `body` with `device` as this thread's, and returns its status; after an error that is no lack of memory that of
// on_error(error), which may throw it again.
template <class Body, class OnError>
infonce_status guarded_on_device(int32_t device, infonce_failure *failure, Body &&body, OnError &&on_error) {
  return guarded(failure, [&] {
    try {
      const CurrentDevice current(device);
      return body();
    } catch (const Error &error) {
      if (error.out_of_memory()) return fail_without_row(failure, INFONCE_OUT_OF_MEMORY, error.what());
      return on_error(error);
    } catch (const CannotBeCaptured &error) {
      return fail_without_row(failure, INFONCE_INVALID_ARGUMENT, error.what());
    }
  });
}

infonce_status lost(infonce_failure *failure, const std::string &fault) {
  return fail_without_row(
      failure, INFONCE_DEVICE_LOST,
      "the context has lost its device: " + fault + "; if a new context fails as well, restart the process");
}

// Whatever a new context meets: another device may serve, or the CPU.
infonce_status unavailable(infonce_failure *failure, const Error &error) {
  const char *lost = "a fault has taken the device from this process, which has to be restarted: ";
  return fail_without_row(failure, INFONCE_DEVICE_UNAVAILABLE,
                          (error.is_fault() ? lost : "") + std::string(error.what()));
}

// As work of a context, whether or not it has lost its device.
template <class Body> infonce_status finish_on(Context &context, infonce_failure *failure, Body &&body) {
  return guarded_on_device(context.device(), failure, body, [&](const Error &error) {
    if (!error.is_fault()) throw error;
    context.lose(error.what());
    return lost(failure, error.what());
  });
}

template <class Body> infonce_status work_on(Context &context, infonce_failure *failure, Body &&body) {
  const std::string fault = context.fault();
  return fault.empty() ? finish_on(context, failure, body) : lost(failure, fault);
}

// Without a name the newest kernels that the device can run, where they are faster; by name those and no others.
// `problem`: why not those for compute capability 9.0.
infonce_status choose_kernels(const std::string &name, const std::string &problem, UseOfSm90 *sm90,
                              infonce_failure *failure) {
  *sm90 = name == "sm80" || !problem.empty() ? UseOfSm90::kNever
          : name.empty()                     ? UseOfSm90::kWhereFaster
                                             : UseOfSm90::kAlways;
  if (name.empty() || name == "sm80") return INFONCE_OK;
  if (name != "sm90")
    return fail_without_row(failure, INFONCE_DEVICE_UNAVAILABLE, "this backend has no kernels '" + name + "'");
  if (problem.empty()) return INFONCE_OK;
  return fail_without_row(failure, INFONCE_DEVICE_UNAVAILABLE, "the kernels 'sm90' cannot be used: " + problem);
}

infonce_status context_create(const infonce_context_options *options, infonce_context **context,
                              infonce_failure *failure) {
  *context = nullptr;
  if (options->struct_size != sizeof *options) return invalid(failure, kSizesDiffer);
  if (options->precision < INFONCE_PRECISION_HIGHEST || options->precision > INFONCE_PRECISION_MEDIUM)
    return invalid(failure, "unknown precision");
  if (const infonce_status status = check_device(options->device, failure)) return status;
  const std::string name = options->instruction_set ? options->instruction_set : "";
  const auto create = [&] {
    std::string problem;
    if (name != "sm80" && (problem = why_no_sm90(options->device)).empty()) problem = try_tensor_maps(options->device);
    const auto stream = static_cast<cudaStream_t>(options->stream);
    if (const std::string other = what_else_is(stream); !other.empty()) return invalid(failure, other.c_str());
    UseOfSm90 sm90;
    if (const infonce_status status = choose_kernels(name, problem, &sm90, failure)) return status;
    *context = new infonce_context{{*options, sm90}};
    return INFONCE_OK;
  };
  return guarded_on_device(options->device, failure, create,
                           [&](const Error &error) { return unavailable(failure, error); });
}

void context_destroy(infonce_context *context) {
  std::unique_ptr<infonce_context> owned(context);
  if (!owned) return;
  const auto destroy = [&] {
    owned.reset();
    cudaGetLastError();
    return INFONCE_OK;
  };
  guarded_on_device(owned->on_device.device(), nullptr, destroy, [](const Error &) { return INFONCE_OK; });
}

infonce_status status_of(const BadRow &bad, infonce_failure *failure) {
  return bad.row < 0 ? INFONCE_OK : non_finite(failure, bad.matrix, bad.row);
}

infonce_status begin(infonce_context *context, const infonce_problem *problem, infonce_result *result,
                     infonce_call **call, infonce_failure *failure) {
  *call = nullptr;
  if (const char *wrong = what_is_wrong(*problem, *result)) return invalid(failure, wrong);
  return work_on(context->on_device, failure, [&] {
    *call = context->on_device.begin(*problem, result).release();
    return INFONCE_OK;
  });
}

// A call that has begun is ended even where the device is lost.
infonce_status end(infonce_context *context, infonce_call *call, infonce_failure *failure) {
  const std::unique_ptr<infonce_call> owned(call);
  const std::string fault = context->on_device.fault();
  const infonce_status status =
      finish_on(context->on_device, failure, [&] { return status_of(context->on_device.end(*owned), failure); });
  return fault.empty() ? status : lost(failure, fault);
}

infonce_status run(infonce_context *context, const infonce_problem *problem, infonce_result *result,
                   infonce_failure *failure) {
  infonce_call *call = nullptr;
  const infonce_status status = begin(context, problem, result, &call, failure);
  return status == INFONCE_OK ? end(context, call, failure) : status;
}

infonce_status capture(infonce_context *context, const infonce_problem *problem, const infonce_result *result,
                       infonce_graph **graph, infonce_failure *failure) {
  *graph = nullptr;
  if (const char *wrong = what_is_wrong(*problem, *result)) return invalid(failure, wrong);
  return work_on(context->on_device, failure, [&] {
    std::unique_ptr<infonce_graph> made;
    const infonce_status status = status_of(context->on_device.record(*problem, *result, &made), failure);
    *graph = made.release();
    return status;
  });
}

infonce_status replay(infonce_context *context, infonce_graph *graph, const int32_t *cancelled, infonce_result *result,
                      infonce_call **call, infonce_failure *failure) {
  *call = nullptr;
  if (result->struct_size != sizeof *result) return invalid(failure, kSizesDiffer);
  const infonce_output &row_loss = result->row_loss;
  if (graph->work->brings_row_loss() && (!row_loss.data || row_loss.residence != INFONCE_ON_HOST))
    return invalid(failure, "row_loss of the host is missing, as the captured call has it");
  return work_on(context->on_device, failure, [&] {
    *call = context->on_device.repeat(*graph, cancelled, result).release();
    return INFONCE_OK;
  });
}

void graph_destroy(infonce_context *context, infonce_graph *graph) {
  if (!graph) return;
  std::unique_ptr<infonce_graph> owned(graph);
  finish_on(context->on_device, nullptr, [&] {
    context->on_device.destroy(std::move(owned));
    return INFONCE_OK;
  });
}

// Runs body() as that step of a call.
template <class Body>
infonce_status take(Step step, infonce_context *context, infonce_saved *saved, infonce_failure *failure, Body &&body) {
  if (const char *wrong = what_is_wrong_with_step(saved->stage, step)) return invalid(failure, wrong);
  const infonce_status status =
      work_on(context->on_device, failure, [&] { return status_of(body(context->on_device), failure); });
  if (status == INFONCE_OK) saved->stage = stage_after(step);
  return status;
}

infonce_status forward(infonce_context *context, const infonce_problem *problem, infonce_result *result,
                       infonce_saved **saved, infonce_failure *failure) {
  *saved = nullptr;
  infonce_problem p = *problem;
  if (const char *wrong = what_is_wrong_with_forward(&p, *result)) return invalid(failure, wrong);
  return work_on(context->on_device, failure, [&] {
    std::unique_ptr<infonce_saved> state;
    const infonce_status status = status_of(context->on_device.forward(p, result, &state), failure);
    *saved = state.release();
    return status;
  });
}

infonce_status backward(infonce_context *context, infonce_saved *saved, const infonce_upstream *upstream,
                        infonce_result *result, infonce_failure *failure) {
  infonce_problem p = saved->problem;
  if (const char *wrong = what_is_wrong_with_backward(&p, *upstream, *result)) return invalid(failure, wrong);
  return take(Step::kBackward, context, saved, failure,
              [&](Context &on_device) { return on_device.backward(*saved, *upstream, result); });
}

infonce_status open(infonce_context *context, const infonce_problem *problem, infonce_saved **saved,
                    infonce_failure *failure) {
  *saved = nullptr;
  infonce_problem p = *problem;
  if (const char *wrong = what_is_wrong_with_open(&p)) return invalid(failure, wrong);
  return work_on(context->on_device, failure, [&] {
    std::unique_ptr<infonce_saved> state;
    const infonce_status status = status_of(context->on_device.open(p, &state), failure);
    if (state) state->stage = Stage::kOpen;
    *saved = state.release();
    return status;
  });
}

const char *why_no_parts(const infonce_problem *) { return nullptr; }

infonce_status read_rows(infonce_context *context, infonce_saved *saved, int32_t softmax,
                         const infonce_travelling_rows *rows, infonce_failure *failure) {
  if (const char *wrong = what_is_wrong_with_rows(saved->problem, softmax, *rows)) return invalid(failure, wrong);
  const bool of_gradient = rows->log_sum_exp || rows->weight || rows->all_positives || rows->rest_share;
  if (const char *wrong = of_gradient ? what_is_wrong_with_step(saved->stage, Step::kAddGradient) : nullptr)
    return invalid(failure, wrong);
  return work_on(context->on_device, failure, [&] {
    context->on_device.read_rows(*saved, softmax, *rows);
    return INFONCE_OK;
  });
}

infonce_status join_rows(infonce_context *context, infonce_saved *saved, int32_t softmax,
                         const infonce_travelling_rows *rows, infonce_failure *failure) {
  if (const char *wrong = what_is_wrong_with_joined_rows(saved->problem, softmax, *rows))
    return invalid(failure, wrong);
  const Step step = have_weights(*rows) ? Step::kAddGradient : Step::kAdd;
  return take(step, context, saved, failure,
              [&](Context &on_device) { return on_device.join_rows(*saved, softmax, *rows); });
}

infonce_status add(infonce_context *context, infonce_saved *saved, const infonce_part *part, infonce_failure *failure) {
  if (const char *wrong = what_is_wrong_with_part(saved->problem, *part, Pass::kSums)) return invalid(failure, wrong);
  return take(Step::kAdd, context, saved, failure, [&](Context &on_device) { return on_device.add(*saved, *part); });
}

infonce_status close(infonce_context *context, infonce_saved *saved, infonce_result *result, infonce_failure *failure) {
  if (const char *wrong = what_is_wrong_with_losses(saved->problem, *result)) return invalid(failure, wrong);
  if (saved->stage == Stage::kOpen && saved->work->lacks_candidates()) return invalid(failure, kNoCandidate);
  return take(Step::kClose, context, saved, failure,
              [&](Context &on_device) { return on_device.close(*saved, result); });
}

infonce_status open_gradient(infonce_context *context, infonce_saved *saved, const infonce_upstream *upstream,
                             infonce_failure *failure) {
  infonce_problem p = saved->problem;
  if (const char *wrong = what_is_wrong_with_upstream(&p, *upstream)) return invalid(failure, wrong);
  return take(Step::kOpenGradient, context, saved, failure,
              [&](Context &on_device) { return on_device.open_gradient(*saved, *upstream); });
}

infonce_status add_gradient(infonce_context *context, infonce_saved *saved, const infonce_part *part,
                            const infonce_output *gradient, infonce_failure *failure) {
  if (const char *wrong = what_is_wrong_with_part(saved->problem, *part, Pass::kGradient))
    return invalid(failure, wrong);
  if (gradient->residence != INFONCE_ON_HOST && gradient->residence != INFONCE_ON_DEVICE)
    return invalid(failure, "unknown residence");
  return take(Step::kAddGradient, context, saved, failure,
              [&](Context &on_device) { return on_device.add_gradient(*saved, *part, *gradient); });
}

infonce_status close_gradient(infonce_context *context, infonce_saved *saved, infonce_result *result,
                              infonce_failure *failure) {
  if (const char *wrong = what_is_wrong_with_gradients(saved->problem, *result)) return invalid(failure, wrong);
  return take(Step::kCloseGradient, context, saved, failure,
              [&](Context &on_device) { return on_device.close_gradient(*saved, result); });
}

void saved_destroy(infonce_context *context, infonce_saved *saved) {
  if (!saved) return;
  std::unique_ptr<infonce_saved> owned(saved);
  finish_on(context->on_device, nullptr, [&] {
    context->on_device.destroy(std::move(owned));
    return INFONCE_OK;
  });
}

infonce_status logits(infonce_context *context, const infonce_problem *problem, const infonce_output *out,
                      infonce_failure *failure) {
  infonce_problem p = *problem;
  if (const char *wrong = what_is_wrong_with_logits(&p, *out)) return invalid(failure, wrong);
  return work_on(context->on_device, failure, [&] {
    infonce_result unused{};
    const auto call = context->on_device.begin(p, &unused, kSimclrLogits, *out);
    return status_of(context->on_device.end(*call), failure);
  });
}

// Arrays beside the inputs for all that may be wanted, of which nothing is written.
infonce_result result_for(const infonce_problem &problem, uint32_t gradients) {
  static float anything = 0;
  infonce_result result{};
  result.struct_size = sizeof result;
  if (what_is_wrong_with_form(problem)) return result;
  result.row_loss = {&anything, problem.matrices[problem.softmaxes[0].anchors].residence};
  // Those that there must be, and those that may be.
  uint32_t wanted = gradients;
  for (int s = 0; s < problem.softmax_count; ++s)
    wanted |= problem.softmaxes[s].positive_matrices | uint32_t(1) << problem.softmaxes[s].anchors;
  for (int m = 0; m < problem.matrix_count; ++m) {
    const bool is_wanted = m != memory_of(problem) && (wanted >> m & 1);
    result.gradients[m] = {is_wanted ? &anything : nullptr, problem.matrices[m].residence};
  }
  return result;
}

infonce_status memory_required(infonce_context *context, const infonce_problem *problem, infonce_memory_needs *needs,
                               infonce_failure *failure) {
  if (needs->struct_size != sizeof *needs) return invalid(failure, kSizesDiffer);
  const infonce_result result = result_for(*problem, needs->gradients);
  if (const char *wrong = what_is_wrong(*problem, result)) return invalid(failure, wrong);
  return work_on(context->on_device, failure, [&] {
    needs->device = context->on_device.size_of(*problem, result);
    needs->available = context->on_device.available();
    return INFONCE_OK;
  });
}

infonce_status allocate(infonce_context *context, int64_t bytes, void **memory, infonce_failure *failure) {
  *memory = nullptr;
  if (bytes < 0) return invalid(failure, kNegativeSize);
  return work_on(context->on_device, failure, [&] {
    *memory = context->on_device.allocate(bytes);
    return INFONCE_OK;
  });
}

void release(infonce_context *context, void *memory) {
  finish_on(context->on_device, nullptr, [&] {
    context->on_device.release(memory);
    return INFONCE_OK;
  });
}

infonce_status copy(infonce_context *context, void *to, const void *from, int64_t bytes, int32_t direction,
                    infonce_failure *failure) {
  constexpr cudaMemcpyKind kKinds[] = {cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice};
  if (direction < INFONCE_COPY_TO_DEVICE || direction > INFONCE_COPY_WITHIN_DEVICE)
    return invalid(failure, "unknown direction");
  if (bytes < 0) return invalid(failure, kNegativeSize);
  return work_on(context->on_device, failure, [&] {
    context->on_device.copy(to, from, bytes, kKinds[direction]);
    return INFONCE_OK;
  });
}

infonce_status combine(infonce_context *context, float *to, const float *from, int64_t count, float factor,
                       int32_t waits, infonce_failure *failure) {
  if (count < 0) return invalid(failure, kNegativeSize);
  return work_on(context->on_device, failure, [&] {
    context->on_device.combine(to, from, count, factor, waits != 0);
    return INFONCE_OK;
  });
}

infonce_status mark(infonce_context *context, void **point, infonce_failure *failure) {
  return work_on(context->on_device, failure, [&] {
    auto *event = reinterpret_cast<cudaEvent_t *>(point);
    if (!*event) check(cudaEventCreateWithFlags(event, cudaEventDisableTiming), "making an event");
    context->on_device.mark(*event);
    return INFONCE_OK;
  });
}

void release_mark(void *point) { cudaEventDestroy(static_cast<cudaEvent_t>(point)); }

infonce_status copy_between(infonce_context *context, infonce_context *other, void *to, const void *from, int64_t bytes,
                            void *after, infonce_failure *failure) {
  if (bytes < 0) return invalid(failure, kNegativeSize);
  return work_on(context->on_device, failure, [&] {
    let_reach_each_other(context->on_device.device(), other->on_device.device());
    context->on_device.copy_after(static_cast<cudaEvent_t>(after), to, from, bytes);
    return INFONCE_OK;
  });
}

infonce_status trim(infonce_context *context, int64_t *freed, infonce_failure *failure) {
  *freed = 0;
  return work_on(context->on_device, failure, [&] {
    *freed = context->on_device.trim();
    return INFONCE_OK;
  });
}

int32_t host_device(infonce_context *context) { return context->on_device.device(); }

infonce_status host_allocate(int32_t device, int64_t bytes, void **memory, infonce_failure *failure) {
  *memory = nullptr;
  if (bytes < 0) return invalid(failure, kNegativeSize);
  const auto allocate = [&] {
    *memory =
        HostMemories::all().keep({device, HostMemory(size_t(std::max<int64_t>(bytes, 1)), cudaHostAllocPortable)});
    return INFONCE_OK;
  };
  return guarded_on_device(device, failure, allocate, [&](const Error &error) { return unavailable(failure, error); });
}

void host_release(void *memory) {
  HostMemories::OfDevice owned = HostMemories::all().take(memory);
  if (!owned.memory.get()) return;
  const auto free = [&] {
    owned.memory = HostMemory();
    return INFONCE_OK;
  };
  guarded_on_device(owned.device, nullptr, free, [](const Error &) { return INFONCE_OK; });
}

infonce_status examine(infonce_context *context, const void *memory, int64_t bytes, infonce_failure *failure) {
  if (bytes < 0) return invalid(failure, kNegativeSize);
  return work_on(context->on_device, failure, [&] {
    const std::string other = what_else_is(memory, size_t(bytes), context->on_device.device());
    return other.empty() ? INFONCE_OK : invalid(failure, other.c_str());
  });
}

infonce_status export_handle(infonce_context *context, const void *memory, infonce_memory_handle *handle,
                             infonce_failure *failure) {
  return work_on(context->on_device, failure, [&] {
    const std::string wrong = export_memory(memory, handle);
    return wrong.empty() ? INFONCE_OK : invalid(failure, wrong.c_str());
  });
}

infonce_status open_handle(infonce_context *context, const infonce_memory_handle *handle, int64_t bytes, void **opened,
                           void **memory, infonce_failure *failure) {
  *opened = *memory = nullptr;
  if (bytes < 0 || handle->offset < 0) return invalid(failure, kNegativeSize);
  return work_on(context->on_device, failure, [&] {
    std::string wrong = open_memory(*handle, opened);
    if (!wrong.empty()) return invalid(failure, wrong.c_str());
    *memory = static_cast<char *>(*opened) + handle->offset;
    wrong = what_else_is(*memory, size_t(bytes), context->on_device.device());
    if (wrong.empty()) return INFONCE_OK;
    close_memory(std::exchange(*opened, nullptr));
    *memory = nullptr;
    return invalid(failure, wrong.c_str());
  });
}

void close_handle(infonce_context *context, void *opened) {
  finish_on(context->on_device, nullptr, [&] {
    close_memory(opened);
    return INFONCE_OK;
  });
}

const infonce_backend kBackend = {sizeof(infonce_backend),
                                  INFONCE_ABI_VERSION,
                                  "cuda",
                                  device_count,
                                  device_info,
                                  context_create,
                                  context_destroy,
                                  run,
                                  begin,
                                  end,
                                  capture,
                                  replay,
                                  graph_destroy,
                                  forward,
                                  backward,
                                  saved_destroy,
                                  open,
                                  add,
                                  close,
                                  open_gradient,
                                  add_gradient,
                                  close_gradient,
                                  read_rows,
                                  join_rows,
                                  why_no_parts,
                                  logits,
                                  memory_required,
                                  allocate,
                                  release,
                                  copy,
                                  combine,
                                  mark,
                                  release_mark,
                                  copy_between,
                                  trim,
                                  host_device,
                                  host_allocate,
                                  host_release,
                                  nullptr,  // measure: nothing
                                  examine,
                                  export_handle,
                                  open_handle,
                                  close_handle};

}  // namespace
}  // namespace infonce::cuda

extern "C" INFONCE_EXPORT const infonce_backend *infonce_shared_backend(uint32_t abi_version, uint32_t backend_size,
                                                                        infonce_failure *failure) {
  if (abi_version == INFONCE_ABI_VERSION && backend_size == sizeof(infonce_backend)) return &infonce::cuda::kBackend;
  infonce::fail(failure, INFONCE_DEVICE_UNAVAILABLE, INFONCE_NO_MATRIX, -1,
                "the CUDA backend has interface version %d, the addon %u: build both from the same sources",
                INFONCE_ABI_VERSION, static_cast<unsigned>(abi_version));
  return nullptr;
}

// The CPU backend's table: checks bounds, chooses the scheme, and lets no exception out.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <limits>
#include <string>

#if defined(__linux__)
#include <sched.h>
#endif

#include "common/call.h"
#include "cpu/call.h"
#include "cpu/limits.h"
#include "cpu/memory.h"

namespace infonce::cpu {
namespace {

constexpr int kMostThreads = 1024;
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

void fill_arrays_with_nan(const infonce_problem &problem, const infonce_result &result) {
  for_each_result(problem, result, [](const infonce_output &output, int64_t count) {
    std::fill(output.data, output.data + count, kNaN);
  });
}

void fill_losses_with_nan(const infonce_problem &problem, infonce_result *result) {
  result->scalars = {kNaN, kNaN, kNaN, kNaN, kNaN};
  for (int s = 0; s < problem.softmax_count; ++s) {
    if (result->rows[s].loss) std::fill_n(result->rows[s].loss, rows_of(problem, s), double(kNaN));
    if (result->rows[s].above && problem.ranks) std::fill_n(result->rows[s].above, rows_of(problem, s), -1);
  }
}

void fill_with_nan(const infonce_problem &problem, infonce_result *result) {
  fill_losses_with_nan(problem, result);
  fill_arrays_with_nan(problem, *result);
}

void fill_gradients_with_nan(infonce_problem problem, infonce_result *result) {
  result->scalars.grad_scale = result->scalars.grad_bias = kNaN;
  problem.gradient = 1;
  problem.reduction = INFONCE_REDUCTION_SUM;  // the losses of the rows are the forward call's
  fill_arrays_with_nan(problem, *result);
}

// The status of a call that met this bad row, or none: `propagate` fills its results with NaN.
template <class Propagate>
infonce_status status_of(const BadRow &bad, bool may_propagate, infonce_failure *failure, Propagate &&propagate) {
  if (bad.row < 0) return INFONCE_OK;
  if (!may_propagate) return non_finite(failure, bad.matrix, bad.row);
  propagate();
  return INFONCE_OK;
}

infonce_status run(infonce_context *context, const infonce_problem *problem, infonce_result *result,
                   infonce_failure *failure) {
  if (const char *wrong = what_is_wrong(*problem, *result)) return invalid(failure, wrong);
  return guarded(failure, [&] {
    const std::lock_guard<std::mutex> lock(context->mutex);
    infonce_result computed = *result;
    const BadRow bad = compute(*context, *problem, &computed);
    const infonce_status status = status_of(bad, problem->propagate_non_finite || result->device_scalars, failure,
                                            [&] { fill_with_nan(*problem, &computed); });
    if (status == INFONCE_OK && result->device_scalars) *result->device_scalars = computed.scalars;
    else *result = computed;
    return status;
  });
}

// `result` null: opens a call whose candidates come in parts. `keeps`: their exponentials, for a gradient.
infonce_status begin_forward(infonce_context *context, const infonce_problem &p, infonce_result *result,
                             infonce_saved **saved, infonce_failure *failure, bool keeps = false) {
  return guarded(failure, [&] {
    const std::lock_guard<std::mutex> lock(context->mutex);
    auto state = std::make_unique<infonce_saved>();
    const BadRow bad = compute_forward(*context, p, result, state.get(), keeps);
    const infonce_status status = status_of(bad, p.propagate_non_finite != 0, failure, [&] {
      if (result) fill_with_nan(p, result);
    });
    if (result) state->stage = Stage::kClosed;
    state->gradient_is_nan = !state->scheme;
    if (status == INFONCE_OK) *saved = state.release();
    return status;
  });
}

infonce_status forward(infonce_context *context, const infonce_problem *problem, infonce_result *result,
                       infonce_saved **saved, infonce_failure *failure) {
  *saved = nullptr;
  infonce_problem p = *problem;
  if (const char *wrong = what_is_wrong_with_forward(&p, *result)) return invalid(failure, wrong);
  return begin_forward(context, p, result, saved, failure);
}

infonce_status open(infonce_context *context, const infonce_problem *problem, infonce_saved **saved,
                    infonce_failure *failure) {
  *saved = nullptr;
  infonce_problem p = *problem;
  if (const char *wrong = what_is_wrong_with_open(&p)) return invalid(failure, wrong);
  return begin_forward(context, p, nullptr, saved, failure, problem->gradient != 0);
}

// Runs body() as that step of a call. NaN or infinity that may stand makes the losses NaN, and there is no scheme any more,
// or the gradients of this pass.
template <class Body>
infonce_status take(Step step, infonce_context *context, infonce_saved *saved, infonce_failure *failure, Body &&body) {
  return guarded(failure, [&] {
    const std::lock_guard<std::mutex> lock(context->mutex);
    if (const char *wrong = what_is_wrong_with_step(saved->stage, step)) return invalid(failure, wrong);
    const BadRow bad = saved->scheme ? body() : BadRow{};
    const infonce_status status = status_of(bad, saved->request.problem.propagate_non_finite != 0, failure, [&] {
      if (saved->stage == Stage::kOpen) saved->scheme.reset();
      saved->gradient_is_nan = true;
    });
    if (status == INFONCE_OK) saved->stage = stage_after(step);
    return status;
  });
}

infonce_status add(infonce_context *context, infonce_saved *saved, const infonce_part *part, infonce_failure *failure) {
  const infonce_problem &p = saved->request.problem;
  if (const char *wrong = what_is_wrong_with_part(p, *part, Pass::kSums)) return invalid(failure, wrong);
  const infonce_status status =
      take(Step::kAdd, context, saved, failure, [&] { return compute_part(*context, *saved, *part); });
  if (status == INFONCE_OK && !saved->scheme && columns_travel(p, *part))
    std::fill_n(part->columns.log_sum, part->candidates.rows, double(kNaN));
  return status;
}

infonce_status close(infonce_context *context, infonce_saved *saved, infonce_result *result, infonce_failure *failure) {
  const infonce_problem &p = saved->request.problem;
  if (const char *wrong = what_is_wrong_with_losses(p, *result)) return invalid(failure, wrong);
  if (saved->needs_candidates) return invalid(failure, kNoCandidate);
  const infonce_status status = take(Step::kClose, context, saved, failure, [&] {
    compute_losses(*context, *saved, result);
    return BadRow{};
  });
  if (status == INFONCE_OK && !saved->scheme) fill_with_nan(p, result);
  return status;
}

infonce_status open_gradient(infonce_context *context, infonce_saved *saved, const infonce_upstream *upstream,
                             infonce_failure *failure) {
  infonce_problem p = saved->request.problem;
  if (const char *wrong = what_is_wrong_with_upstream(&p, *upstream)) return invalid(failure, wrong);
  return take(Step::kOpenGradient, context, saved, failure, [&] { return begin_gradient(*context, *saved, p); });
}

infonce_status add_gradient(infonce_context *context, infonce_saved *saved, const infonce_part *part,
                            const infonce_output *gradient, infonce_failure *failure) {
  const infonce_problem &p = saved->request.problem;
  if (const char *wrong = what_is_wrong_with_part(p, *part, Pass::kGradient)) return invalid(failure, wrong);
  const infonce_status status = take(Step::kAddGradient, context, saved, failure,
                                     [&] { return compute_part_gradient(*context, *saved, *part, gradient->data); });
  if (status == INFONCE_OK && saved->gradient_is_nan && gradient->data)
    std::fill_n(gradient->data, part->candidates.rows * p.dim, kNaN);
  return status;
}

infonce_status close_gradient(infonce_context *context, infonce_saved *saved, infonce_result *result,
                              infonce_failure *failure) {
  const infonce_problem &p = saved->request.problem;
  if (const char *wrong = what_is_wrong_with_gradients(p, *result)) return invalid(failure, wrong);
  const infonce_status status = take(Step::kCloseGradient, context, saved, failure, [&] {
    if (!saved->gradient_is_nan) compute_gradients(*context, *saved, result);
    return BadRow{};
  });
  if (status == INFONCE_OK && saved->gradient_is_nan) fill_gradients_with_nan(p, result);
  return status;
}

infonce_status read_rows(infonce_context *context, infonce_saved *saved, int32_t softmax,
                         const infonce_travelling_rows *rows, infonce_failure *failure) {
  const infonce_problem &p = saved->request.problem;
  if (const char *wrong = what_is_wrong_with_rows(p, softmax, *rows)) return invalid(failure, wrong);
  return guarded(failure, [&] {
    const std::lock_guard<std::mutex> lock(context->mutex);
    const bool of_gradient =
        rows->log_sum_exp || rows->weight || rows->all_positives || rows->rest_share || rows->weights_log_sum_exp;
    if (const char *wrong = of_gradient ? what_is_wrong_with_step(saved->stage, Step::kAddGradient) : nullptr)
      return invalid(failure, wrong);
    if (saved->scheme) saved->scheme->read_rows(softmax, *rows);
    if (saved->scheme && !(of_gradient && saved->gradient_is_nan)) return INFONCE_OK;
    if (rows->positives_log_mean && !saved->scheme) *rows->positives_log_mean = double(kNaN);
    if (rows->above) std::fill_n(rows->above, rows_of(p, softmax), 0);
    for (double *numbers : {saved->scheme ? nullptr : rows->rank, saved->scheme ? nullptr : rows->log_sum,
                            rows->log_sum_exp, rows->weight, rows->rest_share, rows->weights_log_sum_exp})
      if (numbers) std::fill_n(numbers, rows_of(p, softmax), double(kNaN));
    return INFONCE_OK;
  });
}

infonce_status join_rows(infonce_context *context, infonce_saved *saved, int32_t softmax,
                         const infonce_travelling_rows *rows, infonce_failure *failure) {
  const infonce_problem &p = saved->request.problem;
  if (const char *wrong = what_is_wrong_with_joined_rows(p, softmax, *rows)) return invalid(failure, wrong);
  const Step step = have_weights(*rows) ? Step::kAddGradient : Step::kAdd;
  return take(step, context, saved, failure, [&] { return join(*saved, softmax, *rows); });
}

const char *why_no_parts(const infonce_problem *) { return nullptr; }

infonce_status backward(infonce_context *context, infonce_saved *saved, const infonce_upstream *upstream,
                        infonce_result *result, infonce_failure *failure) {
  infonce_problem p = saved->request.problem;
  if (const char *wrong = what_is_wrong_with_backward(&p, *upstream, *result)) return invalid(failure, wrong);
  const infonce_status status =
      take(Step::kBackward, context, saved, failure, [&] { return compute_backward(*context, *saved, p, result); });
  if (status == INFONCE_OK && saved->gradient_is_nan) fill_gradients_with_nan(p, result);
  return status;
}

void saved_destroy(infonce_context *context, infonce_saved *saved) {
  const std::lock_guard<std::mutex> lock(context->mutex);
  if (saved->request.in_parts && !context->spare) context->spare = std::move(saved->memory);
  delete saved;
}

infonce_status logits(infonce_context *context, const infonce_problem *problem, const infonce_output *out,
                      infonce_failure *failure) {
  infonce_problem p = *problem;
  if (const char *wrong = what_is_wrong_with_logits(&p, *out)) return invalid(failure, wrong);
  return guarded(failure, [&] {
    const std::lock_guard<std::mutex> lock(context->mutex);
    return status_of(compute_logits(*context, p, *out), p.propagate_non_finite != 0, failure, [&] {
      const int64_t rows = rows_of(p, 0);
      std::fill(out->data, out->data + rows * (rows - 1), kNaN);
    });
  });
}

infonce_status memory_required(infonce_context *context, const infonce_problem *problem, infonce_memory_needs *needs,
                               infonce_failure *failure) {
  // There are no arrays to be checked yet, nor to be written.
  infonce_problem checked = *problem;
  checked.gradient = 0;
  float anything = 0;
  infonce_result result{};
  result.struct_size = sizeof result;
  result.row_loss.data = &anything;
  if (const char *wrong = what_is_wrong(checked, result)) return invalid(failure, wrong);
  if (needs->struct_size != sizeof *needs) return invalid(failure, "struct_size does not match this library's");
  return guarded(failure, [&] {
    const std::lock_guard<std::mutex> lock(context->mutex);
    try {
      needs->device = bytes_of_run(*context, *problem, needs->gradients);
    } catch (const OutOfMemory &error) {
      needs->device = error.needed();  // already what can be counted only with the rows at hand
    }
    needs->available = available_memory() + context->workspace.capacity();
    return INFONCE_OK;
  });
}

infonce_status allocate(infonce_context *, int64_t bytes, void **memory, infonce_failure *failure) {
  *memory = nullptr;
  if (bytes < 0) return invalid(failure, "memory of a negative size");
  return guarded(failure, [&] {
    *memory = allocate_memory(bytes);
    return INFONCE_OK;
  });
}

void release(infonce_context *, void *memory) { release_memory(memory); }

infonce_status copy(infonce_context *context, void *to, const void *from, int64_t bytes, int32_t direction,
                    infonce_failure *failure) {
  if (bytes < 0 || direction < INFONCE_COPY_TO_DEVICE || direction > INFONCE_COPY_WITHIN_DEVICE)
    return invalid(failure, "a copy of a negative size or an unknown direction");
  const std::lock_guard<std::mutex> lock(context->mutex);
  if (bytes > 0) std::memmove(to, from, size_t(bytes));
  return INFONCE_OK;
}

// While a call runs its memory is in use; trim does not wait for it.
infonce_status trim(infonce_context *context, int64_t *freed, infonce_failure *) {
  *freed = 0;
  const std::unique_lock<std::mutex> lock(context->mutex, std::try_to_lock);
  if (!lock.owns_lock()) return INFONCE_OK;
  *freed = context->workspace.capacity() + context->pairs.bytes();
  if (context->spare) *freed += context->spare->capacity();
  context->spare.reset();
  context->workspace.free();
  context->pairs = Pairs();
  return INFONCE_OK;
}

int32_t host_device(infonce_context *) { return -1; }

infonce_status host_allocate(int32_t device, int64_t bytes, void **memory, infonce_failure *failure) {
  *memory = nullptr;
  if (device != 0) return invalid(failure, "no such CPU device");
  return allocate(nullptr, bytes, memory, failure);
}

void host_release(void *memory) { release_memory(memory); }

// Those this process may run on.
int processor_count() {
#if defined(__linux__)
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) return std::max(1, CPU_COUNT(&allowed));
#endif
  return std::max(1, int(std::thread::hardware_concurrency()));
}

int32_t device_count(infonce_failure *) { return 1; }

infonce_status measure_limit(const infonce_context_options *options, int32_t limit, double figures[INFONCE_FIGURES],
                             infonce_failure *failure) {
  if (options->struct_size != sizeof *options) return invalid(failure, "struct_size does not match this library's");
  return measure(*options, processor_count(), limit, figures, failure);
}

infonce_status device_info(int32_t device, infonce_device_info *info, infonce_failure *failure) {
  if (device != 0 || info->struct_size != sizeof *info) return invalid(failure, "no such CPU device");
  return guarded(failure, [&] {
    const std::vector<InstructionSet> &sets = usable_instruction_sets();
    std::string names;
    for (const InstructionSet &set : sets) names += (names.empty() ? "" : " ") + std::string(set.name);
    std::snprintf(info->name, sizeof info->name, "%s", processor_name().c_str());
    std::snprintf(info->instruction_set, sizeof info->instruction_set, "%s", sets[0].name);
    std::snprintf(info->instruction_sets, sizeof info->instruction_sets, "%s", names.c_str());
    std::snprintf(info->medium, sizeof info->medium, "%s", sets[0].bfloat16 ? "bfloat16" : "float32");
    info->threads = processor_count();
    info->memory = physical_memory();
    return INFONCE_OK;
  });
}

infonce_status context_create(const infonce_context_options *options, infonce_context **context,
                              infonce_failure *failure) {
  *context = nullptr;
  if (options->struct_size != sizeof *options) return invalid(failure, "struct_size does not match this library's");
  if (options->device != 0) return invalid(failure, "no such CPU device");
  if (options->threads < 0 || options->threads > kMostThreads) return invalid(failure, "threads must be 0 to 1024");
  if (options->precision < INFONCE_PRECISION_HIGHEST || options->precision > INFONCE_PRECISION_MEDIUM)
    return invalid(failure, "unknown precision");
  const InstructionSet *chosen = find_instruction_set(options->instruction_set);
  if (!chosen)
    return fail(failure, INFONCE_DEVICE_UNAVAILABLE, INFONCE_NO_MATRIX, -1,
                "this processor cannot run instruction set '%s'", options->instruction_set);
  return guarded(failure, [&] {
    const int threads = options->threads > 0 ? options->threads : processor_count();
    *context = new infonce_context(*chosen, kernels_for(*chosen, options->precision), threads);
    return INFONCE_OK;
  });
}

void context_destroy(infonce_context *context) { delete context; }

}  // namespace
}  // namespace infonce::cpu

const infonce_backend *infonce_cpu_backend(void) {
  using namespace infonce::cpu;
  static const infonce_backend backend = [] {
    infonce_backend table{};
    table.struct_size = sizeof table;
    table.abi_version = INFONCE_ABI_VERSION;
    table.name = "cpu";
    table.device_count = device_count;
    table.device_info = device_info;
    table.context_create = context_create;
    table.context_destroy = context_destroy;
    table.run = run;
    table.forward = forward;
    table.backward = backward;
    table.saved_destroy = saved_destroy;
    table.open = open;
    table.add = add;
    table.close = close;
    table.open_gradient = open_gradient;
    table.add_gradient = add_gradient;
    table.close_gradient = close_gradient;
    table.read_rows = read_rows;
    table.join_rows = join_rows;
    table.why_no_parts = why_no_parts;
    table.logits = logits;
    table.memory_required = memory_required;
    table.allocate = allocate;
    table.release = release;
    table.copy = copy;
    table.trim = trim;
    table.host_device = host_device;
    table.host_allocate = host_allocate;
    table.host_release = host_release;
    table.measure = measure_limit;
    return table;
  }();
  return &backend;
}

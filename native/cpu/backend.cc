// The CPU backend's table: checks what would read out of bounds, chooses the scheme, keeps exceptions inside.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

#include "common/call.h"
#include "cpu/instruction_sets.h"
#include "cpu/memory.h"
#include "cpu/paired_negatives.h"
#include "cpu/panel_scheme.h"
#include "cpu/simclr_logits.h"
#include "cpu/wide_scheme.h"
#include "infonce/infonce.h"

struct infonce_context {
  infonce_context(const infonce::cpu::InstructionSet &set, const infonce::cpu::Kernels &chosen, int threads)
      : instruction_set(set), kernels(chosen), pool(threads) {}

  std::mutex mutex;
  infonce::cpu::InstructionSet instruction_set;
  const infonce::cpu::Kernels &kernels;
  infonce::cpu::ThreadPool pool;
  infonce::cpu::Workspace workspace;
  infonce::cpu::Pairs pairs;
};

namespace infonce::cpu {
namespace {

constexpr double kParallelProducts = 4e6;  // multiply-adds; below, one thread is done before a second has woken
constexpr double kTinyProducts = 1 << 15;  // up to here float64 costs about a microsecond, and gives all digits
constexpr int kMostThreads = 1024;

void fill_with_nan(const infonce_problem &problem, infonce_result *result) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  result->loss = result->grad_scale = result->top1 = result->top5 = nan;
  for_each_result(problem, *result, [&](float *values, int64_t count) { std::fill(values, values + count, nan); });
}

BadRow first_bad_upstream(const infonce_problem &p) {
  for (int64_t i = 0; i < p.grad_output_count; ++i)
    if (!(std::fabs(p.grad_output[i]) <= std::numeric_limits<float>::max())) return {INFONCE_INPUT_GRAD_OUTPUT, i};
  return {};
}

BadRow compute(infonce_context &context, const infonce_problem &p, infonce_result *result) {
  if (const BadRow bad = first_bad_upstream(p); bad.row >= 0) return bad;
  const int64_t candidates = p.negatives ? p.negative_rows : p.rows;
  const double products = double(p.rows) * double(candidates) * double(p.dim);
  context.pool.begin_call(products * (p.gradient ? 1.5 : 0.5) < kParallelProducts, p.cancelled);
  if (p.denominator == INFONCE_DENOMINATOR_OWN_NEGATIVES)
    return paired_negatives(p, context.kernels, context.pool, context.workspace, result);

  context.pairs.build(p, round_up(p.rows, kRowMultiple), round_up(candidates, kRowMultiple));
  // Unit rows bound the logits by the scale: nothing to prepare where that is already too much.
  const bool bounded_too_high = p.normalize && !PanelScheme::can_hold(p.scale);
  if (products > kTinyProducts && !bounded_too_high) {
    // Within a class p - 1 / positives cancels: no place for bfloat16 logits.
    const Kernels &kernels = context.pairs.has_large_classes() ? *context.instruction_set.kernels : context.kernels;
    PanelScheme panel(p, result->grad_negatives != nullptr, kernels, context.pairs, context.pool, context.workspace);
    if (const BadRow bad = panel.prepare(); bad.row >= 0) return bad;
    if (panel.shift_is_possible() && panel.run(result)) return {};
  }
  WideScheme wide(p, context.kernels, context.pairs, context.pool, context.workspace);
  if (const BadRow bad = wide.prepare(); bad.row >= 0) return bad;
  wide.run(result);
  return {};
}

infonce_status run(infonce_context *context, const infonce_problem *problem, infonce_result *result,
                   infonce_failure *failure) {
  if (const char *wrong = what_is_wrong(*problem, *result)) return invalid(failure, wrong);
  return guarded(failure, [&] {
    std::lock_guard<std::mutex> lock(context->mutex);
    const BadRow bad = compute(*context, *problem, result);
    if (bad.row < 0) return INFONCE_OK;
    if (problem->propagate_non_finite) {
      fill_with_nan(*problem, result);
      return INFONCE_OK;
    }
    return non_finite(failure, bad.input, bad.row);
  });
}

infonce_status logits(infonce_context *context, const infonce_problem *problem, float *out, infonce_failure *failure) {
  infonce_problem p = *problem;
  if (const char *wrong = what_is_wrong_with_logits(&p, out)) return invalid(failure, wrong);
  return guarded(failure, [&] {
    std::lock_guard<std::mutex> lock(context->mutex);
    context->pool.begin_call(double(p.rows) * double(p.rows) * double(p.dim) < kParallelProducts, p.cancelled);
    const BadRow bad = simclr_logits(p, context->kernels, context->pool, context->workspace, out);
    if (bad.row < 0) return INFONCE_OK;
    if (p.propagate_non_finite) {
      std::fill(out, out + p.rows * (p.rows - 1), std::numeric_limits<float>::quiet_NaN());
      return INFONCE_OK;
    }
    return non_finite(failure, bad.input, bad.row);
  });
}

infonce_status allocate(infonce_context *, int64_t bytes, void **memory, infonce_failure *failure) {
  *memory = nullptr;
  if (bytes < 0) return invalid(failure, "memory of a negative size");
  return guarded(failure, [&] {
    *memory = allocate_memory(bytes, kCacheLines);
    return INFONCE_OK;
  });
}

void release(infonce_context *, void *memory) { release_memory(memory, kCacheLines); }

infonce_status copy(infonce_context *context, void *to, const void *from, int64_t bytes, int32_t direction,
                    infonce_failure *failure) {
  if (bytes < 0 || direction < INFONCE_COPY_TO_DEVICE || direction > INFONCE_COPY_WITHIN_DEVICE)
    return invalid(failure, "a copy of a negative size or an unknown direction");
  const std::lock_guard<std::mutex> lock(context->mutex);
  if (bytes > 0) std::memmove(to, from, size_t(bytes));
  return INFONCE_OK;
}

infonce_status host_allocate(int32_t device, int64_t bytes, void **memory, infonce_failure *failure) {
  *memory = nullptr;
  if (device != 0) return invalid(failure, "no such CPU device");
  return allocate(nullptr, bytes, memory, failure);
}

void host_release(void *memory) { release_memory(memory, kCacheLines); }

// Those this process may run on.
int processor_count() {
#if defined(__linux__)
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) return std::max(1, CPU_COUNT(&allowed));
#endif
  return std::max(1, int(std::thread::hardware_concurrency()));
}

int32_t device_count(infonce_failure *) { return 1; }

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

infonce_status context_create(const infonce_context_options *options, infonce_context **context, infonce_failure *failure) {
  *context = nullptr;
  if (options->struct_size != sizeof *options) return invalid(failure, "struct_size does not match this library's");
  if (options->device != 0) return invalid(failure, "no such CPU device");
  if (options->threads < 0 || options->threads > kMostThreads) return invalid(failure, "threads must be 0 to 1024");
  if (options->precision < INFONCE_PRECISION_HIGHEST || options->precision > INFONCE_PRECISION_MEDIUM)
    return invalid(failure, "unknown precision");
  const InstructionSet *chosen = nullptr;
  for (const InstructionSet &set : usable_instruction_sets())
    if (!chosen && (!options->instruction_set || std::strcmp(options->instruction_set, set.name) == 0)) chosen = &set;
  if (!chosen)
    return fail(failure, INFONCE_DEVICE_UNAVAILABLE, INFONCE_INPUT_NONE, -1,
                "this processor cannot run instruction set '%s'", options->instruction_set);
  return guarded(failure, [&] {
    const bool bfloat16 = options->precision == INFONCE_PRECISION_MEDIUM && chosen->bfloat16;
    const int threads = options->threads > 0 ? options->threads : processor_count();
    try {
      *context = new infonce_context(*chosen, bfloat16 ? *chosen->bfloat16 : *chosen->kernels, threads);
    } catch (const std::system_error &) {
      return fail(failure, INFONCE_OUT_OF_MEMORY, INFONCE_INPUT_NONE, -1, "the system refuses to start %d threads", threads);
    }
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
    table.logits = logits;
    table.allocate = allocate;
    table.release = release;
    table.copy = copy;
    table.host_allocate = host_allocate;
    table.host_release = host_release;
    return table;
  }();
  return &backend;
}

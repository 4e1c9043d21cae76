#include "common/call.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>

namespace infonce {
namespace {

constexpr int64_t kMostRows = int64_t(1) << 30;  // row numbers are 32-bit in places

bool product_fits(int64_t a, int64_t b, int64_t c) {
  constexpr double kMost = 1LL << 48;
  return double(a) * double(b) * double(c) < kMost;
}

constexpr char kWrongSize[] = "struct_size does not match this library's";
constexpr char kWrongCount[] = "grad_output_count is wrong";
constexpr char kWrongPlace[] = "unknown array in on_device";
constexpr char kMissingGradient[] = "a gradient array is missing";

bool upstream_is_right(const infonce_problem &p) {
  if (p.grad_output_count == 0) return true;
  if (!p.grad_output) return false;
  return p.grad_output_count == 1 || (p.grad_output_count == p.rows && p.reduction == INFONCE_REDUCTION_NONE);
}

bool has_gradient_arrays(const infonce_problem &p, const infonce_result &r) {
  return r.grad_anchors && (has_one_tower(p) || r.grad_keys);
}

}  // namespace

infonce_status fail(infonce_failure *failure, infonce_status status, int32_t input, int64_t row, const char *format,
                    ...) {
  if (failure && failure->struct_size == sizeof *failure) {
    failure->input = input;
    failure->row = row;
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(failure->message, sizeof failure->message, format, arguments);
    va_end(arguments);
  }
  return status;
}

OutOfMemory::OutOfMemory(int64_t needed, int64_t available) : needed_(needed) {
  constexpr double kMebibyte = 1 << 20;
  std::snprintf(message_, sizeof message_, "the call needs %.1f MiB of working memory, and %.1f MiB are left",
                double(needed) / kMebibyte, double(available) / kMebibyte);
}

infonce_status invalid(infonce_failure *failure, const char *what) {
  return fail(failure, INFONCE_INVALID_ARGUMENT, INFONCE_INPUT_NONE, -1, "%s", what);
}

infonce_status non_finite(infonce_failure *failure, int32_t input, int64_t row) {
  return fail(failure, INFONCE_NON_FINITE, input, row, "row %lld of the input holds NaN or infinity",
              static_cast<long long>(row));
}

const char *what_is_wrong(const infonce_problem &p, const infonce_result &r) {
  if (p.struct_size != sizeof p || r.struct_size != sizeof r) return kWrongSize;
  if (p.rows < 1 || p.rows > kMostRows || p.dim < 1 || p.negative_rows < 0 || p.negative_rows > kMostRows)
    return "rows, dim or negative_rows is out of range";
  const bool one_tower = has_one_tower(p);
  const bool own_negatives = p.denominator == INFONCE_DENOMINATOR_OWN_NEGATIVES;
  const bool may_have_memory = one_tower && p.positive == INFONCE_POSITIVE_SAME_LABEL;
  const bool has_negatives = own_negatives || p.denominator == INFONCE_DENOMINATOR_SHARED_NEGATIVES ||
                             (may_have_memory && p.negatives != nullptr);
  if (!one_tower && !has_negatives && p.denominator != INFONCE_DENOMINATOR_ALL_KEYS) return "unknown denominator";
  if (may_have_memory && p.rows + p.negative_rows > kMostRows) return "the problem is too large";
  if (!product_fits(std::max(p.rows, own_negatives ? 1 : p.negative_rows), p.dim, 1) ||
      (own_negatives && !product_fits(p.rows, p.negative_rows, p.dim)))
    return "the problem is too large";
  if (!p.anchors) return "anchors is missing";
  if (one_tower == (p.keys != nullptr)) return "keys must be given with two towers, and only then";
  if (has_negatives != (p.negatives != nullptr) || has_negatives != (p.negative_rows > 0))
    return "negatives must be given when the denominator has them, and only then";
  switch (p.positive) {
    case INFONCE_POSITIVE_FIRST_VIEW:
    case INFONCE_POSITIVE_ALL_VIEWS:
      if (!one_tower || p.views < 2 || p.rows % p.views != 0) return "views must divide rows and be at least 2";
      break;
    case INFONCE_POSITIVE_SAME_LABEL:
      if (!one_tower || !p.labels) return "labels is missing";
      break;
    case INFONCE_POSITIVE_SAME_INDEX:
      if (one_tower) return "positives of the same index need keys";
      break;
    default:
      return "unknown positive rule";
  }
  if (p.reduction < INFONCE_REDUCTION_MEAN || p.reduction > INFONCE_REDUCTION_NONE) return "unknown reduction";
  if (p.both_directions && p.denominator != INFONCE_DENOMINATOR_ALL_KEYS) return "both directions need all keys";
  if (!(p.scale > 0) || p.scale > 1e30) return "scale must be positive and at most 1e30";
  if (!upstream_is_right(p)) return kWrongCount;
  if (p.reduction == INFONCE_REDUCTION_NONE && !r.row_loss) return "row_loss is missing";
  if (p.gradient && !has_gradient_arrays(p, r)) return kMissingGradient;
  for (const int32_t type : {p.anchors_type, p.keys_type, p.negatives_type})
    if (type < INFONCE_FLOAT32 || type > INFONCE_BFLOAT16) return "unknown element type";
  if ((p.on_device & ~uint32_t(INFONCE_ARRAY_ALL)) != 0) return kWrongPlace;
  if (r.scalars && p.on_device != INFONCE_ARRAY_ALL) return "scalars are for calls with all arrays on the device";
  return nullptr;
}

const char *what_is_wrong_with_logits(infonce_problem *problem, const float *logits) {
  infonce_result unused{};
  unused.struct_size = sizeof unused;
  problem->gradient = 0;
  problem->reduction = INFONCE_REDUCTION_MEAN;
  if (const char *wrong = what_is_wrong(*problem, unused)) return wrong;
  const bool has_views = has_one_tower(*problem) && problem->positive != INFONCE_POSITIVE_SAME_LABEL;
  return has_views && logits ? nullptr : "logits are those of one tower with views";
}

const char *what_is_wrong_with_forward(infonce_problem *problem, const infonce_result &result) {
  problem->gradient = 0;
  problem->grad_output_count = 0;
  problem->grad_output = nullptr;
  return what_is_wrong(*problem, result);
}

const char *what_is_wrong_with_backward(infonce_problem *forward, const infonce_upstream &upstream,
                                        const infonce_result &result) {
  constexpr uint32_t kGiven = INFONCE_ARRAY_GRAD_OUTPUT | INFONCE_ARRAY_GRAD_ANCHORS | INFONCE_ARRAY_GRAD_KEYS |
                              INFONCE_ARRAY_GRAD_NEGATIVES;
  if (upstream.struct_size != sizeof upstream || result.struct_size != sizeof result) return kWrongSize;
  forward->gradient = 1;
  forward->grad_output_count = upstream.grad_output_count;
  forward->grad_output = upstream.grad_output;
  forward->cancelled = upstream.cancelled;
  forward->on_device = upstream.on_device & kGiven;
  if ((upstream.on_device & ~uint32_t(INFONCE_ARRAY_ALL)) != 0) return kWrongPlace;
  if (!upstream_is_right(*forward)) return kWrongCount;
  return has_gradient_arrays(*forward, result) ? nullptr : kMissingGradient;
}

}  // namespace infonce

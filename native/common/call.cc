#include "common/call.h"

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <initializer_list>

namespace infonce {
namespace {

constexpr int64_t kMostRows = int64_t(1) << 30;  // row numbers are 32-bit in places

constexpr char kWrongSize[] = "struct_size does not match this library's";
constexpr char kTooLarge[] = "the problem is too large";

bool is_residence(int32_t residence) { return residence == INFONCE_ON_HOST || residence == INFONCE_ON_DEVICE; }

bool is_type(int32_t type) { return type >= INFONCE_FLOAT32 && type <= INFONCE_BFLOAT16; }

const char *wrong_matrix(const infonce_matrix &matrix, int64_t most_rows, int64_t dim) {
  constexpr double kMostNumbers = 1LL << 48;
  if (matrix.rows < 1) return "a matrix has no rows";
  if (matrix.rows > most_rows || double(matrix.rows) * double(dim) >= kMostNumbers) return kTooLarge;
  if (!matrix.data) return "a matrix is missing";
  if (!is_type(matrix.type)) return "unknown element type";
  if (!is_residence(matrix.residence)) return "unknown residence";
  return nullptr;
}

const char *wrong_rows(const infonce_problem &p, const Roles &roles) {
  const int64_t rows = p.matrices[roles.anchors].rows;
  if (roles.keys >= 0 && p.matrices[roles.keys].rows != rows) return "there must be as many keys as anchors";
  if (roles.own_negatives() && p.matrices[roles.negatives].rows % rows != 0)
    return "anchors must divide their own candidates";
  if (negatives_of_anchor(p, roles) > kMostRows) return kTooLarge;
  if (roles.has_memory() && rows + p.matrices[roles.negatives].rows > kMostRows) return kTooLarge;
  return nullptr;
}

const char *wrong_positives(const infonce_problem &p, const Roles &roles) {
  const infonce_matrix &anchors = p.matrices[roles.anchors];
  switch (p.softmaxes[0].positive) {
    case INFONCE_POSITIVE_FIRST_VIEW:
    case INFONCE_POSITIVE_ALL_VIEWS:
      if (anchors.views < 2 || anchors.rows % anchors.views != 0) return "views must divide rows and be at least 2";
      return nullptr;
    case INFONCE_POSITIVE_SAME_ID:
      return anchors.ids && (!roles.has_memory() || p.matrices[roles.negatives].ids) ? nullptr : "ids are missing";
    default:
      return nullptr;
  }
}

const char *wrong_upstream(const infonce_problem &p, const Roles &roles) {
  const infonce_grad_output &upstream = p.grad_output;
  if (!is_residence(upstream.residence)) return "unknown residence";
  if (upstream.count == 0) return nullptr;
  const bool one_each = upstream.count == p.matrices[roles.anchors].rows && p.reduction == INFONCE_REDUCTION_NONE;
  return upstream.data && (upstream.count == 1 || one_each) ? nullptr : "grad_output is missing or its count wrong";
}

const char *wrong_gradients(const infonce_problem &p, const Roles &roles, const infonce_result &r) {
  for (const int matrix : {roles.anchors, roles.keys})
    if (matrix >= 0 && !r.gradients[matrix].data) return "a gradient array is missing";
  if (roles.has_memory() && r.gradients[roles.negatives].data) return "a memory has no gradient";
  for (int m = 0; m < p.matrix_count; ++m)
    if (!is_residence(r.gradients[m].residence)) return "unknown residence";
  return nullptr;
}

}  // namespace

infonce_status fail(infonce_failure *failure, infonce_status status, int32_t matrix, int64_t row, const char *format,
                    ...) {
  if (failure && failure->struct_size == sizeof *failure) {
    failure->matrix = matrix;
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
  return fail(failure, INFONCE_INVALID_ARGUMENT, INFONCE_NO_MATRIX, -1, "%s", what);
}

infonce_status non_finite(infonce_failure *failure, int32_t matrix, int64_t row) {
  return fail(failure, INFONCE_NON_FINITE, matrix, row, "row %lld of the input holds NaN or infinity",
              static_cast<long long>(row));
}

bool all_on_device(const infonce_problem &p, const infonce_result &r) {
  for (int m = 0; m < p.matrix_count; ++m)
    if (p.matrices[m].residence != INFONCE_ON_DEVICE) return false;
  if (p.grad_output.count > 0 && p.grad_output.residence != INFONCE_ON_DEVICE) return false;
  bool on_device = true;
  const auto look = [&](const infonce_output &output, int64_t) { on_device &= output.residence == INFONCE_ON_DEVICE; };
  for_each_result(p, r, look);
  return on_device;
}

const char *what_is_wrong(const infonce_problem &p, const infonce_result &r) {
  if (p.struct_size != sizeof p || r.struct_size != sizeof r) return kWrongSize;
  Roles roles;
  if (const char *wrong = find_roles(p, &roles)) return wrong;
  if (p.dim < 1) return "dim is out of range";
  for (int m = 0; m < p.matrix_count; ++m) {
    const bool own = roles.own_negatives() && m == roles.negatives;
    const int64_t most_rows = own ? INT64_MAX : kMostRows;
    if (const char *wrong = wrong_matrix(p.matrices[m], most_rows, p.dim)) return wrong;
  }
  if (const char *wrong = wrong_rows(p, roles)) return wrong;
  if (const char *wrong = wrong_positives(p, roles)) return wrong;
  if (p.reduction < INFONCE_REDUCTION_MEAN || p.reduction > INFONCE_REDUCTION_NONE) return "unknown reduction";
  if (!(p.scale > 0) || p.scale > 1e30) return "scale must be positive and at most 1e30";
  if (const char *wrong = wrong_upstream(p, roles)) return wrong;
  if (p.reduction == INFONCE_REDUCTION_NONE && !r.row_loss.data) return "row_loss is missing";
  if (!is_residence(r.row_loss.residence)) return "unknown residence";
  if (const char *wrong = p.gradient ? wrong_gradients(p, roles, r) : nullptr) return wrong;
  if (r.device_scalars && !all_on_device(p, r)) return "device_scalars are for calls with all arrays on the device";
  return nullptr;
}

const char *what_is_wrong_with_logits(infonce_problem *problem, const infonce_output &logits) {
  infonce_result unused{};
  unused.struct_size = sizeof unused;
  problem->gradient = 0;
  problem->reduction = INFONCE_REDUCTION_MEAN;
  if (const char *wrong = what_is_wrong(*problem, unused)) return wrong;
  if (!is_residence(logits.residence)) return "unknown residence";
  const int32_t positive = problem->softmaxes[0].positive;
  const bool has_views = positive == INFONCE_POSITIVE_FIRST_VIEW || positive == INFONCE_POSITIVE_ALL_VIEWS;
  return has_views && logits.data ? nullptr : "logits are those of one matrix with views";
}

const char *what_is_wrong_with_forward(infonce_problem *problem, const infonce_result &result) {
  problem->gradient = 0;
  problem->grad_output = {};
  return what_is_wrong(*problem, result);
}

const char *what_is_wrong_with_backward(infonce_problem *forward, const infonce_upstream &upstream,
                                        const infonce_result &result) {
  if (upstream.struct_size != sizeof upstream || result.struct_size != sizeof result) return kWrongSize;
  forward->gradient = 1;
  forward->grad_output = upstream.grad_output;
  forward->cancelled = upstream.cancelled;
  const Roles roles = roles_of(*forward);
  if (const char *wrong = wrong_upstream(*forward, roles)) return wrong;
  return wrong_gradients(*forward, roles, result);
}

}  // namespace infonce

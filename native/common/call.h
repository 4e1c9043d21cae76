// What every backend does with a call before and after it computes: checks what would be read out of bounds, and turns
// failures into reports.
#pragma once

#include <exception>
#include <new>

#include "infonce/infonce.h"

namespace infonce {

// A problem that could be read out of bounds, or that no backend knows: the reason. Else null.
const char *what_is_wrong(const infonce_problem &problem, const infonce_result &result);

// Fills `failure`, if it is there, and returns the status.
infonce_status fail(infonce_failure *failure, infonce_status status, int32_t input, int64_t row, const char *format,
                    ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 5, 6)))
#endif
    ;
infonce_status invalid(infonce_failure *failure, const char *what);
infonce_status non_finite(infonce_failure *failure, int32_t input, int64_t row);

// Runs `body`, which may throw std::bad_alloc or anything else, and returns its status.
template <class Body> infonce_status guarded(infonce_failure *failure, Body &&body) {
  try {
    return body();
  } catch (const std::bad_alloc &) {
    return fail(failure, INFONCE_OUT_OF_MEMORY, INFONCE_INPUT_NONE, -1, "not enough memory for the call's workspace");
  } catch (const std::exception &error) {
    return fail(failure, INFONCE_INTERNAL, INFONCE_INPUT_NONE, -1, "%s", error.what());
  }
}

// A result of which nothing is known.
void fill_with_nan(const infonce_problem &problem, infonce_result *result);

}  // namespace infonce

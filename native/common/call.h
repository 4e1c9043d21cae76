// Shared by all backends before and after a call: checks against reads out of bounds, and reports of failures.
#pragma once

#include <exception>
#include <new>

#include "common/form.h"
#include "common/precision.h"
#include "common/threads.h"
#include "infonce/infonce.h"

namespace infonce {

// Why a problem is refused: it would be read out of bounds, or no backend computes it. Else null.
const char *what_is_wrong(const infonce_problem &problem, const infonce_result &result);

// The same for a call for SimCLR's logits: `problem` becomes the one to compute.
const char *what_is_wrong_with_logits(infonce_problem *problem, const infonce_output &logits);

// The same for a forward call: `problem` becomes the one to compute.
const char *what_is_wrong_with_forward(infonce_problem *problem, const infonce_result &result);

// The same for an opened call, whose candidates may all come in parts: `problem` becomes the one to compute.
const char *what_is_wrong_with_open(infonce_problem *problem);

// The same for a part of an opened call, to be added to its sums or its gradient.
enum class Pass { kSums, kGradient };
const char *what_is_wrong_with_part(const infonce_problem &problem, const infonce_part &part, Pass pass);

// Whether rows of the part's candidates have a loss elsewhere, of which this call has a share.
inline bool columns_travel(const infonce_problem &problem, const infonce_part &part) {
  return problem.blocks[part.block].column_softmax != kNone;
}

// The same of rows that are read, and of rows that came home.
const char *what_is_wrong_with_rows(const infonce_problem &problem, int32_t softmax,
                                    const infonce_travelling_rows &rows);
const char *what_is_wrong_with_joined_rows(const infonce_problem &problem, int32_t softmax,
                                           const infonce_travelling_rows &rows);

// Whether rows that are joined are visitors, whose losses are other calls': at first with their ranks, for the gradient with
// their weights.
inline bool are_visitors(const infonce_travelling_rows &rows) {
  return (rows.rank || rows.log_sum_exp) && !rows.log_sum && !rows.above && !rows.term_losses;
}
inline bool have_weights(const infonce_travelling_rows &rows) { return are_visitors(rows) && rows.log_sum_exp; }
inline bool have_ranks_alone(const infonce_travelling_rows &rows) { return are_visitors(rows) && !rows.log_sum_exp; }

// The message about a call without candidates.
constexpr char kNoCandidate[] = "no candidate is left in the sum";
// Whether an opened call needs candidates from parts: by its form and sizes it has only positives.
bool needs_candidates(const infonce_problem &problem);

// The same for the results of an opened call: its losses, or its gradients.
const char *what_is_wrong_with_losses(const infonce_problem &problem, const infonce_result &result);
const char *what_is_wrong_with_gradients(const infonce_problem &problem, const infonce_result &result);

// The same for a backward call: `forward`, the problem of its forward call, becomes the one to compute.
const char *what_is_wrong_with_backward(infonce_problem *forward, const infonce_upstream &upstream,
                                        const infonce_result &result);
const char *what_is_wrong_with_upstream(infonce_problem *forward, const infonce_upstream &upstream);

// The stages of a call in steps, and the steps. An opened gradient may be abandoned for another.
enum class Stage { kOpen, kClosed, kGradient };
enum class Step { kAdd, kClose, kOpenGradient, kAddGradient, kCloseGradient, kBackward };

// Why a call at this stage refuses the step, or null; and its stage after the step.
const char *what_is_wrong_with_step(Stage stage, Step step);
Stage stage_after(Step step);

// An input's row that holds NaN or infinity.
struct BadRow {
  int32_t matrix = INFONCE_NO_MATRIX;  // or INFONCE_IN_GRAD_OUTPUT
  int64_t row = -1;                    // -1: none
};

// First row whose bias is neither a number nor -infinity.
BadRow first_bad_bias(const infonce_problem &problem);
// The same of a part, and of numbers that travel with it: sums and weights are numbers, except sums of nothing.
BadRow first_bad_number(const infonce_problem &problem, const infonce_part &part, Pass pass);
// First returned row with a non-finite sum.
BadRow first_bad_sum(const infonce_problem &problem, int32_t softmax, const infonce_travelling_rows &rows);

// Fills `failure`, unless it is null, and returns the status.
infonce_status fail(infonce_failure *failure, infonce_status status, int32_t matrix, int64_t row, const char *format,
                    ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 5, 6)))
#endif
    ;
infonce_status invalid(infonce_failure *failure, const char *what);
infonce_status non_finite(infonce_failure *failure, int32_t matrix, int64_t row);

// A call's working memory cannot be allocated. Both in bytes.
class OutOfMemory : public std::bad_alloc {
 public:
  OutOfMemory(int64_t needed, int64_t available);
  int64_t needed() const { return needed_; }
  const char *what() const noexcept override { return message_; }

 private:
  int64_t needed_;
  char message_[128];
};

// Thrown out of a call whose caller has set problem.cancelled.
struct Cancelled {};

inline bool is_cancelled(const int32_t *cancelled) {
  return cancelled && __atomic_load_n(cancelled, __ATOMIC_RELAXED) != 0;
}

// Runs `body`, which may throw Cancelled, std::bad_alloc or anything else, and returns its status.
template <class Body> infonce_status guarded(infonce_failure *failure, Body &&body) {
  const SamePrecision precision;
  try {
    return body();
  } catch (const Cancelled &) {
    return fail(failure, INFONCE_CANCELLED, INFONCE_NO_MATRIX, -1, "the call was cancelled");
  } catch (const OutOfMemory &error) {
    return fail(failure, INFONCE_OUT_OF_MEMORY, INFONCE_NO_MATRIX, -1, "%s", error.what());
  } catch (const std::bad_alloc &) {
    return fail(failure, INFONCE_OUT_OF_MEMORY, INFONCE_NO_MATRIX, -1, "not enough memory for the call's workspace");
  } catch (const NoThread &error) {
    return fail(failure, INFONCE_NO_THREAD, INFONCE_NO_MATRIX, -1, "%s", error.what());
  } catch (const std::exception &error) {
    return fail(failure, INFONCE_INTERNAL, INFONCE_NO_MATRIX, -1, "%s", error.what());
  }
}

// Whether every array of the call that is there, except ids, is on the device.
bool all_on_device(const infonce_problem &problem, const infonce_result &result);

// Calls visit(output, count) for each array of numbers that the call fills.
template <class Visit> void for_each_result(const infonce_problem &p, const infonce_result &r, Visit &&visit) {
  if (p.reduction == INFONCE_REDUCTION_NONE) visit(r.row_loss, p.matrices[p.softmaxes[0].anchors].rows);
  for (int m = 0; m < p.matrix_count && p.gradient; ++m)
    if (r.gradients[m].data) visit(r.gradients[m], p.matrices[m].rows * p.dim);
}

}  // namespace infonce

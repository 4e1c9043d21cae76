// Computes calls of checked problems: chooses the scheme and runs its steps.
#pragma once

#include "cpu/context.h"

namespace infonce::cpu {

// Each throws OutOfMemory or Cancelled and returns the first row of the input that holds NaN or infinity.
BadRow compute(infonce_context &context, const infonce_problem &problem, infonce_result *result);
BadRow compute_logits(infonce_context &context, const infonce_problem &problem, const infonce_output &logits);

// `result` null: opens a call whose candidates come in parts.
BadRow compute_forward(infonce_context &context, const infonce_problem &problem, infonce_result *result,
                       infonce_saved *saved, bool keeps = false);
// `problem` is that of the forward call with the upstream gradient of this one.
BadRow compute_backward(infonce_context &context, infonce_saved &saved, const infonce_problem &problem,
                        infonce_result *result);

// The steps of a call in parts. No other scheme can take over.
BadRow compute_part(infonce_context &context, infonce_saved &saved, const infonce_part &part);
void compute_losses(infonce_context &context, infonce_saved &saved, infonce_result *result);
BadRow begin_gradient(infonce_context &context, infonce_saved &saved, const infonce_problem &problem);
BadRow compute_part_gradient(infonce_context &context, infonce_saved &saved, const infonce_part &part, float *gradient);
void compute_gradients(infonce_context &context, infonce_saved &saved, infonce_result *result);
// Adds the sums of a softmax's rows from other calls.
BadRow join(infonce_saved &saved, int32_t softmax, const infonce_travelling_rows &rows);

// The bytes that `run` takes for these gradients (bits by matrix): exact, or, where the values in the input decide, the
// most.
int64_t bytes_of_run(infonce_context &context, const infonce_problem &problem, uint32_t gradients);

}  // namespace infonce::cpu

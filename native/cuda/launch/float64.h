// The float64 scheme: log-sum-exp and gradient of one tower's rows against another's.
#pragma once

#include <cstdint>

#include "cuda/kernels/tasks.h"
#include "cuda/stream.h"

namespace infonce::cuda {

// The least panel that float64_gradient takes, in elements.
constexpr int64_t kLeastFloat64Panel = kRowMultiple * kRowMultiple;

// Writes direction.offset (the largest logit; -inf without candidates), sum and above of all padded rows of the owner.
// `positive_logit` [rows]: of the first positive, +inf without one; only logits above it by more than a few roundings
// count, and none without `ranks`. `add`: to what is there, from other candidates.
void float64_log_sum_exp(Stream &stream, const Float64Task &task, const double *positive_logit,
                         const Direction &direction, bool add, bool ranks, double factor = 1);

// accumulators [owner.padded_rows][owner.padded_dim] = sum over j of W_ij v_j, without pairs.apart and with the targets
// of pairs.classes taken off, whose members `elsewhere` are positives as well. Reads upstream and log_sum_exp of the
// directions; a null one adds nothing. `panel` is aligned to 16 bytes; its size changes no bit of the result.
void float64_gradient(Stream &stream, const Float64Task &task, const Direction *owner_direction,
                      const Direction *other_direction, double *panel, int64_t panel_elements, double *accumulators);

}  // namespace infonce::cuda

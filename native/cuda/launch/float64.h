// The float64 scheme: log-sum-exp and gradient of one tower's rows against another's, and the sigmoid loss.
#pragma once

#include <cstdint>

#include "cuda/kernels/tasks.h"
#include "cuda/stream.h"

namespace infonce::cuda {

// The least panel that float64_gradient takes, in elements.
constexpr int64_t kLeastFloat64Panel = kRowMultiple * kRowMultiple;

// Writes direction.offset (the largest logit; -inf without candidates), sum and above of all padded rows of the owner.
// `positive_logit` [rows]: of the first positive, +inf without one; only logits above `rank_factor` times that by more
// than a few roundings count, and none without `ranks`. `add`: to what is there, from other candidates.
void float64_log_sum_exp(Stream &stream, const Float64Task &task, const double *positive_logit, double rank_factor,
                         const Direction &direction, bool add, bool ranks);

// Writes `most` of all anchors.
void thresholds(Stream &stream, const ThresholdTask &task);

// accumulators [owner.padded_rows][owner.padded_dim] = sum over j of W_ij v_j, without pairs.apart and with the targets
// of pairs.classes taken off, whose members `elsewhere` are positives as well. Reads upstream and log_sum_exp of the
// directions; a null one adds nothing. `panel` is aligned to 16 bytes; its size changes no bit of the result.
void float64_gradient(Stream &stream, const Float64Task &task, const Direction *owner_direction,
                      const Direction *other_direction, double *panel, int64_t panel_elements, double *accumulators);

// The same of the sigmoid loss: `sum` becomes each row's loss, `offset` the sum of its derivatives by the logits.
void sigmoid_statistics(Stream &stream, const SigmoidTask &task, const double *positive_logit,
                        const Direction &direction, bool add, bool ranks);
void sigmoid_losses(Stream &stream, const LossesTask &task);
// d loss / d bias, into both places; `scalars` may be null.
void sigmoid_bias(Stream &stream, const LossesTask &task, Report *report, infonce_scalars *scalars);
void sigmoid_gradient(Stream &stream, const SigmoidTask &task, const Direction *owner_direction,
                      const Direction *other_direction, double *panel, int64_t panel_elements, double *accumulators);

}  // namespace infonce::cuda

// Positives by id beside the one by index, or in parts.
#pragma once

#include "cuda/kernels/tasks.h"
#include "cuda/stream.h"

namespace infonce::cuda {

// Adds those that the anchors of a block, or its candidates, have in it to their sums.
void further_positives(Stream &stream, const FurtherTask &task, bool of_candidates, const FurtherSums &sums);

// Their terms, to those before.
void further_terms(Stream &stream, const FurtherTask &task, bool of_candidates, const FurtherSums &before,
                   const FurtherSums &to);

// Adds what they bring to the accumulators of the anchors, or of the candidates.
void further_gradients(Stream &stream, int32_t row_loss, const FurtherTask &task, bool of_candidates,
                       const FurtherSums &of_anchors, const FurtherSums &of_others, double *accumulators);

}  // namespace infonce::cuda

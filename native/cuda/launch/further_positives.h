// Positives by id beside the one by index.
#pragma once

#include "cuda/kernels/tasks.h"
#include "cuda/stream.h"

namespace infonce::cuda {

// Sums over those that the anchors of a block, or its candidates, have in it. `add`: to what the sums hold.
void further_positives(Stream &stream, const FurtherTask &task, bool of_candidates, const FurtherSums &sums, bool add);

// Adds what they bring to the accumulators of the anchors, or of the candidates.
void further_gradients(Stream &stream, const FurtherTask &task, bool of_candidates, const FurtherSums &of_anchors,
                       const FurtherSums &of_others, double *accumulators);

}  // namespace infonce::cuda

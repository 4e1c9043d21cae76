// SimCLR's matrix of logits.
#pragma once

#include "cuda/kernels/rows.h"
#include "cuda/stream.h"

namespace infonce::cuda {

// Writes logits [N, N - 1]: rows in the order of the input, in each the positives in ascending order, then the others.
// `anchors` are prepared sample by sample.
void simclr_logits(Stream &stream, const Tower &anchors, double scale, float *logits);

}  // namespace infonce::cuda

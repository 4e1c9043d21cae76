// InfoNCE with own negatives [N, M, D]: the whole call in one kernel.
#pragma once

#include "cuda/kernels/tasks.h"
#include "cuda/stream.h"

namespace infonce::cuda {

// Writes loss, above and radial = <u_i, d loss / d u_i> of the queries (radial 0 without gradient), and the three
// gradients unless they are null. Rows with NaN or infinity go to report->first_bad_row; what is written for their
// queries is unspecified.
void paired_negatives(Stream &stream, const PairedTask &task);

}  // namespace infonce::cuda

// InfoNCE with own negatives [N, M, D]: the whole call in one kernel.
#pragma once

#include "cuda/kernels/tasks.h"
#include "cuda/stream.h"

namespace infonce::cuda {

// Writes loss, above and radial = <u_i, d loss / d u_i> of the queries (radial 0 without gradient), and the three
// gradients unless they are null. Rows with NaN or infinity go to report->first_bad_row; what is written for their
// queries is unspecified.
void paired_negatives(Stream &stream, const PairedTask &task);

// With other candidates beside own ones: after the sums of those, and after the losses.
void own_statistics(Stream &stream, const OwnTask &task);
void own_gradients(Stream &stream, const OwnTask &task);
void add_anchors_to_own(Stream &stream, const OwnTask &task, const Tower &candidates, double *accumulators);

}  // namespace infonce::cuda

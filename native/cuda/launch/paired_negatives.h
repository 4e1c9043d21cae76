// InfoNCE with own negatives [N, M, D]: the whole call in one kernel.
#pragma once

#include <cstdint>

#include "cuda/kernels/rows.h"
#include "cuda/stream.h"
#include "infonce/infonce.h"

namespace infonce::cuda {

// All pointers, those of `problem` too, are to the device. Writes loss, above and radial = <u_i, d loss / d u_i> of the
// queries (radial 0 without gradient), and the three gradients unless they are null. `workspace` [N * M]. Rows with NaN
// or infinity go to report->first_bad_row; what is written for their queries is unspecified.
void paired_negatives(Stream &stream, const infonce_problem &problem, const Upstream &upstream, double2 *workspace,
                      float *grad_anchors, float *grad_keys, float *grad_negatives, double *loss, int32_t *above,
                      double *radial, Report *report);

}  // namespace infonce::cuda

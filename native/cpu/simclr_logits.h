// SimCLR's logits as a matrix [rows, rows - 1]: first the row's positives in ascending column order, then the other
// rows.
#pragma once

#include "cpu/operands.h"

namespace infonce::cpu {

BadRow simclr_logits(const infonce_problem &problem, const Kernels &kernels, ThreadPool &pool, Workspace &workspace,
                     float *logits);

}  // namespace infonce::cpu

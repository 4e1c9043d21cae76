// SimCLR's logits as a matrix, for those who want to look at it: [rows, rows - 1], the row's positives in ascending
// column order first, then the other rows.
#pragma once

#include "cpu/operands.h"

namespace infonce::cpu {

BadRow simclr_logits(const infonce_problem &problem, const Kernels &kernels, ThreadPool &pool, Workspace &workspace,
                     float *logits);

}  // namespace infonce::cpu

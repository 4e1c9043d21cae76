// InfoNCE with every query's own negatives [N, M, D]: nothing is shared between rows, each negative is read once for the
// logits and once for its gradient. Memory-bound, so all of it is float64.
#pragma once

#include "cpu/passes.h"

namespace infonce::cpu {

BadRow paired_negatives(const infonce_problem &problem, const Kernels &kernels, ThreadPool &pool, Workspace &workspace,
                        infonce_result *result);

}  // namespace infonce::cpu

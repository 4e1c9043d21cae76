// InfoNCE with every query's own negatives [N, M, D]: nothing is shared between rows and nothing is prepared.
#pragma once

#include <cuda_runtime.h>

#include "cuda/workspace.h"

namespace infonce::cuda {

struct Work;

class PairedNegatives {
 public:
  void take_scratch(Workspace::Cursor &cursor, int64_t all_negatives) { dots_ = cursor.take<double2>(all_negatives); }

  // Losses, what is above the positives, radial parts and the gradients that are wanted.
  void compute(const Work &work) const;

 private:
  double2 *dots_ = nullptr;
};

}  // namespace infonce::cuda

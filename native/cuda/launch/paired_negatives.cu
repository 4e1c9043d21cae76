#include "cuda/launch/paired_negatives.h"

#include <algorithm>

#include "cuda/kernels/paired_negatives.cuh"
#include "cuda/launch/launch.h"

namespace infonce::cuda {
namespace {

bool aligned(const void *pointer) { return reinterpret_cast<uintptr_t>(pointer) % sizeof(float4) == 0; }

// Whether every row begins at a multiple of 16 bytes.
bool takes_vectors(const PairedTask &task) {
  return task.problem.dim % 4 == 0 && aligned(task.problem.anchors) && aligned(task.problem.keys) &&
         aligned(task.problem.negatives) && aligned(task.grad_anchors) && aligned(task.grad_keys) &&
         aligned(task.grad_negatives);
}

}  // namespace

void paired_negatives(Stream &stream, const PairedTask &task) {
  const PairedProblem &problem = task.problem;
  // Dot products and two sums, of pairs of numbers.
  const Operations operations = {12.0 * double(problem.rows) * double(problem.negative_rows) * double(problem.dim),
                                 true};
  const bool by_four = takes_vectors(task);
  const auto kernel = problem.key_bias || problem.margin != 0
                          ? (by_four ? paired_queries<4, true> : paired_queries<1, true>)
                          : (by_four ? paired_queries<4, false> : paired_queries<1, false>);
  const unsigned warps = std::min(blocks_of(problem.negative_rows, kPairedBatch), unsigned(kPairedWarps));
  stream.launch_in_parts(operations, "paired_queries", kernel, unsigned(problem.rows), kWarp * int(warps), 0, task);
}

}  // namespace infonce::cuda

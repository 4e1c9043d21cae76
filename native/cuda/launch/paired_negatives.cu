#include "cuda/launch/paired_negatives.h"

#include <algorithm>

#include "cuda/kernels/own_candidates.cuh"
#include "cuda/launch/launch.h"

namespace infonce::cuda {
namespace {

bool aligned(const void *pointer) { return reinterpret_cast<uintptr_t>(pointer) % sizeof(float4) == 0; }

// Whether every row begins at a multiple of 16 bytes.
bool takes_vectors(const PairedTask &task) {
  return (task.problem.dim | task.problem.anchor_stride | task.problem.key_stride | task.problem.negative_stride) % 4 ==
             0 &&
         aligned(task.problem.anchors) && aligned(task.problem.keys) && aligned(task.problem.negatives) &&
         aligned(task.grad_anchors) && aligned(task.grad_keys) && aligned(task.grad_negatives);
}

bool takes_vectors(const OwnTask &task) {
  return (task.anchors.dim | task.anchors.source_stride | task.own_stride) % 4 == 0 && aligned(task.anchors.source) &&
         aligned(task.own) && aligned(task.gradients);
}

void launch(Stream &stream, const char *name, void (*kernel)(Trace, OwnTask), const OwnTask &task) {
  const Tower &anchors = task.anchors;
  const Operations operations = {4.0 * double(anchors.rows) * double(task.each) * double(anchors.dim), true};
  const unsigned warps = std::min(blocks_of(task.each, kPairedBatch), unsigned(kPairedWarps));
  stream.launch_in_parts(operations, name, kernel, unsigned(anchors.rows), kWarp * int(warps), 0, task);
}

}  // namespace

void own_statistics(Stream &stream, const OwnTask &task) {
  launch(stream, "own_statistics", takes_vectors(task) ? own_statistics<4> : own_statistics<1>, task);
}

void own_gradients(Stream &stream, const OwnTask &task) {
  launch(stream, "own_gradients", takes_vectors(task) ? own_gradients<4> : own_gradients<1>, task);
}

void add_anchors_to_own(Stream &stream, const OwnTask &task, const Tower &candidates, double *accumulators) {
  const Operations operations = {2.0 * double(candidates.rows) * double(candidates.dim), true};
  stream.launch_in_parts(operations, "add_anchors", add_anchors, blocks_of(candidates.rows, kRowsPerBlock),
                         kRowsPerBlock * kWarp, 0, task, candidates, accumulators);
}

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

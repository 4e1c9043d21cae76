#include "cuda/kernels/further_positives.cuh"

#include "cuda/launch/further_positives.h"
#include "cuda/launch/launch.h"

namespace infonce::cuda {
namespace {

// As if every pair were one.
Operations operations_of(const FurtherTask &task) {
  return {4.0 * double(task.anchors.rows) * double(task.candidates.rows) * double(task.anchors.dim), true};
}

unsigned grid_of(const FurtherTask &task, bool of_candidates) {
  return blocks_of((of_candidates ? task.candidates : task.anchors).rows, kRowsPerBlock);
}

}  // namespace

void further_positives(Stream &stream, const FurtherTask &task, bool of_candidates, const FurtherSums &sums, bool add) {
  stream.launch_in_parts(operations_of(task), "further_positives",
                         of_candidates ? further_positives<true> : further_positives<false>,
                         grid_of(task, of_candidates), kRowsPerBlock * kWarp, 0, task, sums, add);
}

void further_gradients(Stream &stream, const FurtherTask &task, bool of_candidates, const FurtherSums &of_anchors,
                       const FurtherSums &of_others, double *accumulators) {
  stream.launch_in_parts(
      operations_of(task), "further_gradients", of_candidates ? further_gradients<true> : further_gradients<false>,
      grid_of(task, of_candidates), kRowsPerBlock * kWarp, 0, task, of_anchors, of_others, accumulators);
}

}  // namespace infonce::cuda

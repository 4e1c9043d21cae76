#include "cuda/kernels/further_positives.cuh"

#include "cuda/launch/further_positives.h"
#include "cuda/launch/launch.h"

namespace infonce::cuda {
namespace {

template <class Kernel, class... Arguments>
void launch(Stream &stream, const char *name, Kernel kernel, const FurtherTask &task, bool of_candidates,
            const Arguments &...arguments) {
  // As if every pair were one.
  const double pairs = double(task.anchors.rows) * double(task.candidates.rows);
  const int64_t rows = (of_candidates ? task.candidates : task.anchors).rows;
  stream.launch_in_parts({4.0 * pairs * double(task.anchors.dim), true}, name, kernel, blocks_of(rows, kRowsPerBlock),
                         kRowsPerBlock * kWarp, 0, task, arguments...);
}

}  // namespace

void further_positives(Stream &stream, const FurtherTask &task, bool of_candidates, const FurtherSums &sums) {
  launch(stream, "further_positives", of_candidates ? further_positives<true> : further_positives<false>, task,
         of_candidates, sums);
}

void further_terms(Stream &stream, const FurtherTask &task, bool of_candidates, const FurtherSums &before,
                   const FurtherSums &to) {
  launch(stream, "further_terms", of_candidates ? further_terms<true> : further_terms<false>, task, of_candidates,
         before, to);
}

void further_gradients(Stream &stream, int32_t row_loss, const FurtherTask &task, bool of_candidates,
                       const FurtherSums &of_anchors, const FurtherSums &of_others, double *accumulators) {
  with_row_loss(row_loss, [&](auto kind) {
    launch(stream, "further_gradients",
           of_candidates ? further_gradients<kind(), true> : further_gradients<kind(), false>, task, of_candidates,
           of_anchors, of_others, accumulators);
  });
}

}  // namespace infonce::cuda

#include "cuda/kernels/finish.cuh"

#include "cuda/launch/launch.h"

namespace infonce::cuda {
namespace {

template <class Scalar> void launch(Stream &stream, const FinishTask<Scalar> &task) {
  const double of_element = 4.0 * double(task.all_splits + (task.has_pairs ? task.logits.most_pairs : 0));
  stream.launch_in_parts({of_element * double(task.tower.rows) * double(task.tower.dim), true}, "finish",
                         finish<Scalar>, blocks_of(task.tower.rows, kRowsPerBlock), kRowsPerBlock * kWarp, 0, task);
}

}  // namespace

void finish(Stream &stream, const FinishTask<float> &task) { launch(stream, task); }
void finish(Stream &stream, const FinishTask<double> &task) { launch(stream, task); }

}  // namespace infonce::cuda

#include "cuda/kernels/finish.cuh"

#include "cuda/launch/launch.h"

namespace infonce::cuda {
namespace {

template <class Scalar> void launch(Stream &stream, PairRule rule, const FinishTask<Scalar> &task) {
  const auto kernel =
      rule == PairRule::kByRule ? finish<Scalar, PairRule::kByRule> : finish<Scalar, PairRule::kByRange>;
  const double of_element = 4.0 * double(task.all_splits + (task.has_pairs ? task.logits.most_pairs : 0));
  stream.launch_in_parts({of_element * double(task.tower.rows) * double(task.tower.dim), true}, "finish", kernel,
                         blocks_of(task.tower.rows, kRowsPerBlock), kRowsPerBlock * kWarp, 0, task);
}

template <class Scalar>
void launch_add(Stream &stream, const Tower &tower, const Scalar *splits, int32_t count, const float *factor,
                double *to) {
  if (count > 0)
    stream.launch("add_splits", add_splits<Scalar>, blocks_of(tower.rows, kRowsPerBlock), kRowsPerBlock * kWarp, 0,
                  tower, splits, count, factor, to);
}

}  // namespace

void add_splits(Stream &stream, const Tower &tower, const float *splits, int32_t count, const float *factor,
                double *to) {
  launch_add(stream, tower, splits, count, factor, to);
}
void add_splits(Stream &stream, const Tower &tower, const double *splits, int32_t count, const float *factor,
                double *to) {
  launch_add(stream, tower, splits, count, factor, to);
}

void finish(Stream &stream, PairRule rule, const FinishTask<float> &task) { launch(stream, rule, task); }
void finish(Stream &stream, PairRule rule, const FinishTask<double> &task) { launch(stream, rule, task); }

}  // namespace infonce::cuda

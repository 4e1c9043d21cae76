#include "cuda/kernels/finish.cuh"

#include "cuda/launch/launch.h"

namespace infonce::cuda {
namespace {

template <class Scalar>
void launch(Stream &stream, PairRule rule, const FinishTask<Scalar> &task, const TotalsTask &totals) {
  const double of_element = 4.0 * double(task.all_splits + (task.has_pairs ? task.logits.most_pairs : 0));
  const auto launch = [&](auto kernel) {
    stream.launch_in_parts({of_element * double(task.tower.rows) * double(task.tower.dim), true}, "finish", kernel,
                           blocks_of(task.tower.rows, kRowsPerBlock), kRowsPerBlock * kWarp, 0, task, totals);
  };
  // Of positives by range each row has one, whose weight is known.
  if (rule == PairRule::kByRange) return launch(finish<Scalar, PairRule::kByRange, INFONCE_ROW_LOSS_CROSS_ENTROPY>);
  if (task.row_loss != INFONCE_ROW_LOSS_CROSS_ENTROPY) return launch(finish<Scalar, PairRule::kByRule, kRareRowLoss>);
  launch(finish<Scalar, PairRule::kByRule, INFONCE_ROW_LOSS_CROSS_ENTROPY>);
}

template <class Scalar> void launch_add(Stream &stream, const AddSplitsTask<Scalar> &task) {
  if (task.count > 0)
    stream.launch("add_splits", add_splits<Scalar>, blocks_of(task.to_tower.rows, kRowsPerBlock), kRowsPerBlock * kWarp,
                  0, task);
}

}  // namespace

void add_splits(Stream &stream, const AddSplitsTask<float> &task) { launch_add(stream, task); }
void add_splits(Stream &stream, const AddSplitsTask<double> &task) { launch_add(stream, task); }

void add_radial(Stream &stream, const Tower &tower, const double *sums, double factor, const Upstream &upstream,
                double *radial) {
  stream.launch("add_radial", add_radial, blocks_of(tower.rows, kRowsPerBlock), kRowsPerBlock * kWarp, 0, tower, sums,
                factor, upstream, radial);
}

void finish(Stream &stream, PairRule rule, const FinishTask<float> &task, const TotalsTask &totals) {
  launch(stream, rule, task, totals);
}
void finish(Stream &stream, PairRule rule, const FinishTask<double> &task, const TotalsTask &totals) {
  launch(stream, rule, task, totals);
}

}  // namespace infonce::cuda

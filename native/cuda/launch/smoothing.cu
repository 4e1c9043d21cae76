#include "cuda/kernels/smoothing.cuh"

#include <algorithm>

#include "cuda/launch/launch.h"

namespace infonce::cuda {

void sum_rows(Stream &stream, const RowSumTask &task) {
  stream.launch_in_parts({2.0 * double(task.tower.rows) * double(task.tower.dim), true}, "sum_rows", sum_rows,
                         blocks_of(task.tower.dim, kWarp), kWarp * kSummedRows, 0, task);
}

void mean_logits(Stream &stream, const MeanLogitsTask &task) {
  stream.launch_in_parts({2.0 * double(task.anchors.rows) * double(task.anchors.dim), true}, "mean_logits", mean_logits,
                         blocks_of(task.anchors.rows, kRowsPerBlock), kRowsPerBlock * kWarp, 0, task);
}

void add_logit_sums(Stream &stream, const LogitSumsTask &task) {
  stream.launch_in_parts({2.0 * double(task.tower.rows) * double(task.tower.dim), true}, "add_logit_sums",
                         add_logit_sums, blocks_of(task.tower.rows, kRowsPerBlock), kRowsPerBlock * kWarp, 0, task);
}

void add_smoothing(Stream &stream, const SmoothingTask &task) {
  stream.launch_in_parts({4.0 * double(task.tower.rows) * double(task.tower.dim), true}, "add_smoothing", add_smoothing,
                         blocks_of(task.tower.rows, kRowsPerBlock), kRowsPerBlock * kWarp, 0, task);
}

}  // namespace infonce::cuda

#include "cuda/kernels/pairs.cuh"

#include "cuda/launch/launch.h"

namespace infonce::cuda {

void pair_logits(Stream &stream, Planes planes, const PairsTask &task) {
  const auto kernel = planes == Planes::kMedium ? pair_logits<1>
                      : planes == Planes::kHigh ? pair_logits<2>
                                                : pair_logits<3>;
  const double pairs = double(task.anchors.rows) * double(task.logits.most_pairs);
  stream.launch_in_parts({4 * pairs * double(task.anchors.dim), true}, "pair_logits", kernel,
                         blocks_of(task.anchors.padded_rows, kRowsPerBlock), kRowsPerBlock * kWarp, 0, task);
}

}  // namespace infonce::cuda

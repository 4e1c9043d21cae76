#include "cuda/kernels/pairs.cuh"

#include "cuda/launch/launch.h"

namespace infonce::cuda {
namespace {

template <bool kGeneral> auto kernel_for(Planes planes) {
  return planes == Planes::kMedium ? pair_logits<1, kGeneral>
         : planes == Planes::kHigh ? pair_logits<2, kGeneral>
                                   : pair_logits<3, kGeneral>;
}

}  // namespace

void first_logits(Stream &stream, const FirstsTask &task) {
  stream.launch_in_parts({2.0 * double(task.anchors.rows) * double(task.anchors.dim), true}, "first_logits",
                         first_logits, blocks_of(task.anchors.padded_rows, kRowsPerBlock), kRowsPerBlock * kWarp, 0,
                         task);
}

void pair_logits(Stream &stream, Planes planes, const PairsTask &task) {
  const bool is_general = task.targets || task.bias_of_keys || task.bias_of_memory || task.ids || task.margin != 0;
  const auto kernel = is_general ? kernel_for<true>(planes) : kernel_for<false>(planes);
  const double pairs = double(task.anchors.rows) * double(task.logits.most_pairs);
  stream.launch_in_parts({4 * pairs * double(task.anchors.dim), true}, "pair_logits", kernel,
                         blocks_of(task.anchors.padded_rows, kRowsPerBlock), kRowsPerBlock * kWarp, 0, task);
}

}  // namespace infonce::cuda

#include "cuda/launch/numbers.h"

#include "cuda/kernels/numbers.cuh"
#include "cuda/launch/launch.h"

namespace infonce::cuda {

void combine(Stream &stream, float *to, const float *from, int64_t count, float factor) {
  if (count <= 0 || (!from && factor == 1)) return;
  if (factor == 0) return stream.fill(to, 0, size_t(count) * sizeof *to);
  stream.launch_in_parts({2.0 * double(count), true}, "combine_numbers", combine_numbers,
                         blocks_of(count, kNumbersOfBlock), kNumbersOfBlock, 0, to, from, count, factor);
}

}  // namespace infonce::cuda

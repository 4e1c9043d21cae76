#pragma once

#include <cstdint>

#include "cuda/stream.h"

namespace infonce::cuda {

// to[i] = (to[i] + from[i]) * factor; without `from` to[i] * factor; with a factor of 0 all 0.
void combine(Stream &stream, float *to, const float *from, int64_t count, float factor);

}  // namespace infonce::cuda

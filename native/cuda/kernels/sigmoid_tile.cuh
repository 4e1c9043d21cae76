// The sigmoid loss of a pair that is no positive, in float32: what tiles of logits are made into in place of exponentials.
#pragma once

#include "cuda/kernels/sm80_mma.cuh"

namespace infonce::cuda {

// Of a logit in powers of two. -inf: no pair, both are 0.
struct SigmoidOfLogit {
  float loss, slope;  // log (1 + e^logit) and its derivative by the logit

  INFONCE_DEVICE explicit SigmoidOfLogit(float log2) {
    constexpr float kLn2 = 0.693147181f;
    const float x = power_of_two(-fabsf(log2)), share = __fdividef(1, 1 + x);
    slope = log2 > 0 ? share : x * share;
    // log (1 + x) by the area tangent: 1 + x would round a small x.
    const float s = __fdividef(x, 2 + x), square = s * s;
    float series = 1.0f / 13;
#pragma unroll
    for (int odd = 11; odd > 0; odd -= 2) series = fmaf(series, square, 1.0f / odd);
    loss = fmaf(fmaxf(log2, 0), kLn2, 2 * s * series);
  }
};

}  // namespace infonce::cuda

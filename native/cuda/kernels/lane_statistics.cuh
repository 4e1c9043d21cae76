// Statistics of the rows and columns that the lanes of a warp see: a row is seen by four lanes that are neighbours, a
// column by the eight whose index is the same modulo four.
#pragma once

#include <cmath>

#include "cuda/kernels/sigmoid_tile.cuh"
#include "cuda/kernels/sm80_mma.cuh"
#include "cuda/kernels/tasks.h"
#include "cuda/kernels/warp.cuh"

namespace infonce::cuda {

// Adds value[c] over the eight lanes that share lane % 4 by halving: each step sends one half of the values and keeps
// the other. Leaves value[0 ... kCount / 8), those from the returned index on.
template <int kCount, class T> INFONCE_DEVICE int sum_over_rows(T (&value)[kCount], int lane) {
  static_assert(kCount % 8 == 0, "three halvings");
  int first = 0;
#pragma unroll
  for (int step = 0; step < 3; ++step) {
    const int bit = 4 << step, half = kCount >> (step + 1);
    const bool upper = lane & bit;
#pragma unroll
    for (int c = 0; c < kCount / 2; ++c) {
      if (c >= half) break;
      const T sent = upper ? value[c] : value[c + half], kept = upper ? value[c + half] : value[c];
      value[c] = kept + __shfl_xor_sync(kAllLanes, sent, bit);
    }
    first += upper ? half : 0;
  }
  return first;
}

// The row statistics of one lane: it sees two of eight columns, four lanes see a row.
template <class Sums, Terms kTerms> struct RowStatistics {
  static constexpr int kFragments = Sums::kRowFragments;
  static constexpr bool kOnline = kTerms == Terms::kOnline;
  float sum[kFragments][2];
  float maximum[kFragments][2];  // kOnline; of sigmoids the sum of their derivatives
  int32_t above[kFragments][2];

  INFONCE_DEVICE void clear() {
#pragma unroll
    for (int m = 0; m < kFragments; ++m)
#pragma unroll
      for (int h = 0; h < 2; ++h) sum[m][h] = 0, above[m][h] = 0, maximum[m][h] = kOnline ? -INFINITY : 0;
  }

  // Moves the maximum up to that of `sums`, and the sums with it.
  INFONCE_DEVICE void raise(Sums &sums, float exponent) {
    float old[kFragments][2];
#pragma unroll
    for (int m = 0; m < kFragments; ++m)
#pragma unroll
      for (int h = 0; h < 2; ++h) old[m][h] = maximum[m][h];
    sums.for_each([&](float &dot, int m, int, int q) { maximum[m][q >> 1] = fmaxf(maximum[m][q >> 1], dot); });
#pragma unroll
    for (int m = 0; m < kFragments; ++m)
#pragma unroll
      for (int h = 0; h < 2; ++h)
        if (maximum[m][h] > old[m][h]) sum[m][h] *= power_of_two((old[m][h] - maximum[m][h]) * exponent);
  }

  INFONCE_DEVICE void add_sigmoids(Sums &sums, float exponent, float shift) {
    sums.for_each([&](float &dot, int m, int, int q) {
      const SigmoidOfLogit of(fmaf(dot, exponent, shift));
      sum[m][q >> 1] += of.loss;
      maximum[m][q >> 1] += of.slope;
    });
  }

  // Exponents are relative to this.
  INFONCE_DEVICE float base(int m, int h) const { return kOnline && maximum[m][h] > -INFINITY ? maximum[m][h] : 0; }

  // Adds up the four lanes of a row; the first of them has the result.
  INFONCE_DEVICE void join_lanes(float exponent) {
#pragma unroll
    for (int m = 0; m < kFragments; ++m)
#pragma unroll
      for (int h = 0; h < 2; ++h)
#pragma unroll
        for (int bit = 1; bit <= 2; bit *= 2) {
          float other = __shfl_xor_sync(kAllLanes, sum[m][h], bit);
          above[m][h] += __shfl_xor_sync(kAllLanes, above[m][h], bit);
          if constexpr (kTerms != Terms::kExponentials) {
            const float theirs = __shfl_xor_sync(kAllLanes, maximum[m][h], bit);
            join(maximum[m][h], sum[m][h], theirs, other, exponent);
          } else {
            sum[m][h] += other;
          }
        }
  }

  static INFONCE_DEVICE void join(float &maximum, float &sum, float other_maximum, float other_sum, float exponent) {
    if constexpr (!kOnline) {
      sum += other_sum, maximum += other_maximum;
      return;
    }
    const float largest = fmaxf(maximum, other_maximum);
    if (largest == -INFINITY) return;
    // The same on both lanes: the terms are added in the order of the maxima, not of the lanes.
    const float mine = sum * power_of_two((maximum - largest) * exponent);
    const float theirs = other_sum * power_of_two((other_maximum - largest) * exponent);
    sum = mine + theirs;
    maximum = largest;
  }
};

}  // namespace infonce::cuda

// One tower of random unit rows, two views of each sample, as a call of NT-Xent at level 'medium' and temperature 0.1
// prepares it, with the same weights for every row.
#pragma once

#include <cmath>
#include <random>

#include "cuda/launch/launch.h"
#include "device_array.h"

namespace infonce::cuda::ladder {

inline constexpr Planes kPlanes = Planes::kMedium;
inline constexpr float kExponent = 10 * 1.44269504f;  // logit in powers of two over dot product

class Problem {
 public:
  Problem(Stream &stream, int64_t rows, int64_t dim)
      : padded_rows_((rows + kRowMultiple - 1) / kRowMultiple * kRowMultiple),
        source_(random(rows * dim)),
        planes_(padded_rows_ * dim),
        inverse_norm_(padded_rows_),
        apart_(padded_rows_),
        report_(1),
        weight_(std::vector<float>(size_t(padded_rows_), 0.5f / float(rows))) {
    tower_ = {source_.get(), dim, nullptr, 2, planes_.get(), inverse_norm_.get(), rows, padded_rows_, dim, dim, true};
    constexpr int kMatrix = 0;
    prepare(stream, kPlanes, {PrepareTask{tower_, kMatrix, apart_.get(), report_.get()}});
    stream.synchronize();
  }

  const Tower &tower() const { return tower_; }
  Pairs pairs() const { return {apart_.get(), nullptr}; }
  const float *weight() const { return weight_.get(); }

 private:
  static std::vector<float> random(int64_t count) {
    std::mt19937 generator(1);
    std::normal_distribution<float> normal;
    std::vector<float> values(static_cast<size_t>(count));
    for (float &value : values) value = normal(generator);
    return values;
  }

  const int64_t padded_rows_;
  DeviceArray<float> source_;
  DeviceArray<__nv_bfloat16> planes_;
  DeviceArray<double> inverse_norm_;
  DeviceArray<Range> apart_;
  DeviceArray<Report> report_;
  DeviceArray<float> weight_;
  Tower tower_;
};

}  // namespace infonce::cuda::ladder

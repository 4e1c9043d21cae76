// Pairs of a query and one of its own candidates, in float64. Their rows are read in place, because they are read only
// once or twice.
#pragma once

#include <algorithm>
#include <cmath>

#include "common/constants.h"
#include "cpu/kernels/kernels.h"
#include "infonce/infonce.h"

namespace infonce::cpu {

// A plain row, and how it becomes a unit row; the chain back as in Operand.
struct PlainRow {
  const float *data;
  double inverse;
  bool zero, clamped;

  double radial(bool normalize) const { return normalize && !clamped ? 1 : 0; }
  double chain() const { return zero ? 0 : inverse; }
};

class PairedRow {
 public:
  // `gradient`: [dim], to add up what the query gets; as it is until `clear`.
  PairedRow(const infonce_problem &problem, const Kernels &kernels, double *gradient)
      : problem_(problem), kernels_(kernels), gradient_(gradient) {}

  PlainRow row(const float *data) const {
    const double norm = std::sqrt(kernels_.row_dot(data, data, problem_.dim));
    const bool normalize = problem_.normalize != 0;
    finite_ &= norm < 1e300;
    return {data, normalize ? 1 / std::max(norm, kSmallestNorm) : 1, normalize && norm == 0, !(norm > kSmallestNorm)};
  }
  bool finite() const { return finite_; }

  double dot(const PlainRow &a, const PlainRow &b) const {
    return kernels_.row_dot(a.data, b.data, problem_.dim) * a.inverse * b.inverse;
  }

  // gradient = (weight * u - radial * v <v, weight * u>) / |v| for the row v that stands against u.
  void write_gradient(const PlainRow &v, const PlainRow &u, double weight, double dot, float *out) const {
    const double along = v.radial(problem_.normalize) * weight * dot;
    const double of_u = v.chain() * weight * u.inverse, of_v = v.chain() * along * v.inverse;
    for (int64_t d = 0; d < problem_.dim; ++d) out[d] = float(of_u * u.data[d] - of_v * v.data[d]);
  }

  void clear() { std::fill(gradient_, gradient_ + problem_.dim, 0.0); }
  void add(const PlainRow &v, double weight) {
    const double w = weight * v.inverse;
    for (int64_t d = 0; d < problem_.dim; ++d) gradient_[d] += w * v.data[d];
  }

  // Writes the query's gradient from what was added; returns <u, d loss / d u>.
  double finish(const PlainRow &query, double factor, float *out) const {
    double along = 0;
    for (int64_t d = 0; d < problem_.dim; ++d) along += gradient_[d] * query.data[d];
    along *= query.inverse * factor;
    const double of_v = query.radial(problem_.normalize) * along * query.inverse;
    for (int64_t d = 0; d < problem_.dim; ++d)
      out[d] = float(query.chain() * (factor * gradient_[d] - of_v * query.data[d]));
    return along;
  }

 private:
  const infonce_problem &problem_;
  const Kernels &kernels_;
  double *gradient_;
  mutable bool finite_ = true;
};

}  // namespace infonce::cpu

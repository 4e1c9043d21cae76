#include "test/agreement.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

namespace infonce::test {

namespace {

constexpr double kColdest = 0.05;
constexpr int64_t kFewDimensions = 63;

double tolerance_of(infonce_precision precision) {
  switch (precision) {
    case INFONCE_PRECISION_HIGHEST:
      return 2e-5;
    case INFONCE_PRECISION_HIGH:
      return 2e-4;
    default:
      return 2e-2;
  }
}

template <class Got> double distance(const Got *got, const double *expected, size_t count) {
  double squares = 0;
  for (size_t i = 0; i < count; ++i) {
    squares += (got[i] - expected[i]) * (got[i] - expected[i]);
  }
  return std::sqrt(squares);
}

double norm(const std::vector<double> &values) {
  return std::sqrt(std::inner_product(values.begin(), values.end(), values.begin(), 0.0));
}

// The length of a result, or `size`, what it would be if nothing cancelled, where the exact result is 0: one candidate,
// one dimension.
double length_or(double size, double length) { return length > 1e-9 * size ? length : size; }

// What a gradient's length would be if nothing cancelled.
double gradient_size(const Inputs &from) {
  const auto rows = static_cast<double>(row_count(from.problem));
  const double share = from.problem.reduction == INFONCE_REDUCTION_MEAN ? 1 / rows : 1;
  return from.problem.scale * share * std::sqrt(rows);
}

// What the error of a cosine is multiplied by: the scale, and more where the sum of negatives cancels against its share of
// positives.
double amplification(const infonce_problem &problem) {
  const infonce_softmax &softmax = problem.softmaxes[0];
  return softmax.row_loss == INFONCE_ROW_LOSS_DEBIASED ? problem.scale / (1 - softmax.tau_plus) : problem.scale;
}

}  // namespace

Expectation::Expectation(const Inputs &from, infonce_precision precision, const Reference &exact)
    : inputs_(from), precision_(precision), references_{exact} {
  const bool bounded = amplification(from.problem) <= 1 / kColdest && from.problem.dim >= kFewDimensions;
  if (precision != INFONCE_PRECISION_HIGHEST && !bounded) {
    const bool medium = precision == INFONCE_PRECISION_MEDIUM;
    references_.push_back(reference(from, medium ? Operands::kBfloat16 : Operands::kTwoBfloat16));
  }
}

// A precision may compute more exactly than asked. All results must match the same one of the references.
void Expectation::check(const Output &got) const {
  std::vector<Deviation> nearest;
  double least = INFINITY;
  for (const Reference &expected : references_) {
    const std::vector<Deviation> found = deviations(expected, got);
    double worst = 0;
    for (const Deviation &deviation : found) {
      worst = std::isnan(deviation.error) ? INFINITY : std::max(worst, deviation.error / deviation.bound);
    }
    if (nearest.empty() || worst < least) {
      nearest = found;
      least = worst;
    }
  }
  for (const Deviation &deviation : nearest) {
    INFO(deviation.what);
    CHECK(deviation.error <= deviation.bound);
  }
  if (!inputs_.problem.ranks) {
    CHECK(std::isnan(got.result.scalars.top1));
    CHECK(std::isnan(got.result.scalars.top5));
  } else if (precision_ == INFONCE_PRECISION_HIGHEST) {
    const Reference &exact = references_.front();
    CHECK(got.result.scalars.top1 >= exact.top1.least);
    CHECK(got.result.scalars.top1 <= exact.top1.most);
    CHECK(got.result.scalars.top5 >= exact.top5.least);
    CHECK(got.result.scalars.top5 <= exact.top5.most);
    for (size_t s = 0; s < exact.rows.size(); ++s) {
      for (size_t i = 0; i < got.above[s].size(); ++i) {
        CAPTURE(s);
        CAPTURE(i);
        CHECK(got.above[s][i] >= exact.rows[s].above[i].least);
        CHECK(got.above[s][i] <= exact.rows[s].above[i].most);
      }
    }
  }
}

std::vector<Expectation::Deviation> Expectation::deviations(const Reference &expected, const Output &got) const {
  std::vector<Deviation> all;
  if (inputs_.problem.reduction == INFONCE_REDUCTION_NONE) {
    all.push_back(
        of("row loss", got.row_loss, expected.row_loss, std::sqrt(static_cast<double>(row_count(inputs_.problem)))));
  } else {
    const double error = std::abs(got.result.scalars.loss - expected.loss);
    all.push_back({"loss", error, tolerance_of(precision_) * length_or(1, std::abs(expected.loss))});
  }
  for (size_t s = 0; s < expected.rows.size() && got.losses[s].size() > 0; ++s) {
    const std::vector<double> &losses = expected.rows[s].loss;
    all.push_back(of("losses of softmax " + std::to_string(s), got.losses[s], losses, std::sqrt(losses.size())));
  }
  if (inputs_.problem.gradient) {
    const double size = gradient_size(inputs_);
    for (size_t m = 0; m < expected.gradients.size(); ++m) {
      all.push_back(of("gradient of matrix " + std::to_string(m), got.gradients[m], expected.gradients[m], size));
    }
    all.push_back(of_grad_scale(expected, got));
  }
  return all;
}

template <class Number>
Expectation::Deviation Expectation::of(const std::string &what, const Buffer<Number> &got,
                                       const std::vector<double> &expected, double size) const {
  const double error = distance(got.data(), expected.data(), got.size());
  return {what, error, tolerance_of(precision_) * length_or(size, norm(expected))};
}

// A bfloat16 product's error stays where the terms of this sum cancel, so below 'highest' their size is the measure.
Expectation::Deviation Expectation::of_grad_scale(const Reference &expected, const Output &got) const {
  const double error = std::abs(got.result.scalars.grad_scale - expected.grad_scale);
  const double size = expected.grad_scale_size;
  const bool exact = precision_ == INFONCE_PRECISION_HIGHEST;
  const double length = exact ? length_or(size, std::abs(expected.grad_scale)) : size;
  return {"gradient of the scale", error, tolerance_of(precision_) * length};
}

}  // namespace infonce::test

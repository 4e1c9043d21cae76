// Every loss on ragged sizes, by every instruction set, precision and thread count, against float64.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "test/case.h"
#include "test/context.h"
#include "test/reference.h"

namespace infonce::test {

namespace {

struct Engine {
  std::string name;
  infonce_precision precision;
  std::unique_ptr<Context> context;
};

std::vector<Engine> engines() {
  std::vector<Engine> all;
  for (const std::string &set : instruction_sets()) {
    for (const auto precision : {INFONCE_PRECISION_HIGHEST, INFONCE_PRECISION_HIGH, INFONCE_PRECISION_MEDIUM}) {
      for (int threads = 1; threads <= 3; ++threads) {
        all.push_back({set + " precision=" + std::to_string(precision) + " threads=" + std::to_string(threads), precision,
                       std::make_unique<Context>(set, precision, threads)});
      }
    }
  }
  return all;
}

double tolerance_of(infonce_precision precision) {
  switch (precision) {
    case INFONCE_PRECISION_HIGHEST:
      return 2e-5;
    case INFONCE_PRECISION_HIGH:
      return 1e-3;
    default:
      return 2e-2;
  }
}

double norm(const double *values, size_t size) {
  return std::sqrt(std::inner_product(values, values + size, values, 0.0));
}

// |got - expected| / |expected|. Where the exact result is 0 (one candidate, one dimension) `size` stands for it: what
// the result would be if nothing cancelled.
template <class Got> double relative_error(const Got *got, const double *expected, size_t count, double size) {
  std::vector<double> difference(count);
  for (size_t i = 0; i < count; ++i) {
    difference[i] = got[i] - expected[i];
  }
  const double length = norm(expected, count);
  return norm(difference.data(), count) / (length > 1e-9 * size ? length : size);
}

// What a gradient's length would be if nothing cancelled.
double gradient_size(const Case &from) {
  const auto rows = static_cast<double>(from.settings.rows);
  const double share = from.settings.reduction == INFONCE_REDUCTION_MEAN ? 1 / rows : 1;
  return from.problem.scale * share * std::sqrt(rows);
}

// A bfloat16 product's error stays where the terms of this sum cancel, so below 'highest' their size is the measure.
void check_grad_scale(const Engine &engine, const Reference &expected, const Output &got) {
  const double error = std::abs(got.result.grad_scale - expected.grad_scale);
  const bool exact = engine.precision == INFONCE_PRECISION_HIGHEST;
  const bool zero = std::abs(expected.grad_scale) <= 1e-9 * expected.grad_scale_size;
  const double size = exact && !zero ? std::abs(expected.grad_scale) : expected.grad_scale_size;
  CHECK(error <= tolerance_of(engine.precision) * size);
}

void compare(const Engine &engine, const Case &from, const Reference &expected, const Output &got) {
  const double tolerance = tolerance_of(engine.precision);
  const auto rows = static_cast<double>(from.settings.rows);
  CHECK(relative_error(got.row_loss.data(), expected.row_loss.data(), got.row_loss.size(), std::sqrt(rows)) <= tolerance);
  if (from.settings.reduction != INFONCE_REDUCTION_NONE) {
    CHECK(relative_error(&got.result.loss, &expected.loss, 1, 1) <= tolerance);
  }
  if (from.settings.gradient) {
    const double size = gradient_size(from);
    const auto error = [size](const Buffer<float> &buffer, const std::vector<double> &reference) {
      return relative_error(buffer.data(), reference.data(), buffer.size(), size);
    };
    CHECK(error(got.grad_anchors, expected.grad_anchors) <= tolerance);
    CHECK(error(got.grad_keys, expected.grad_keys) <= tolerance);
    CHECK(error(got.grad_negatives, expected.grad_negatives) <= tolerance);
    check_grad_scale(engine, expected, got);
  }
  if (engine.precision == INFONCE_PRECISION_HIGHEST) {
    CHECK(got.result.top1 >= expected.top1.least);
    CHECK(got.result.top1 <= expected.top1.most);
    CHECK(got.result.top5 >= expected.top5.least);
    CHECK(got.result.top5 <= expected.top5.most);
  }
}

void check_case(const std::vector<Engine> &engines, const Settings &settings) {
  const Case problem(settings);
  const Reference expected = reference(problem);
  for (const Engine &engine : engines) {
    CAPTURE(engine.name);
    Output got(problem);
    infonce_failure failure = empty_failure();
    REQUIRE_MESSAGE(engine.context->run(problem.problem, got.result, failure) == INFONCE_OK, failure.message);
    compare(engine, problem, expected, got);
  }
}

struct Shape {
  int64_t rows;
  int64_t dim;
  int64_t negative_rows;
  int64_t views;
};

// Around the sizes of panels, blocks and vectors, and far from them.
constexpr Shape kShapes[] = {
    {2, 1, 1, 2}, {6, 3, 5, 3}, {12, 16, 1, 4}, {66, 17, 7, 2}, {113, 203, 37, 113}, {130, 64, 65, 2}, {258, 33, 20, 3},
};

}  // namespace

TEST_CASE("every loss is that of the reference") {
  const std::vector<Engine> all = engines();
  size_t variant = 0;
  for (const Shape &shape : kShapes) {
    for (const Loss loss : kLosses) {
      for (const auto reduction : {INFONCE_REDUCTION_MEAN, INFONCE_REDUCTION_SUM, INFONCE_REDUCTION_NONE}) {
        Settings settings;
        settings.loss = loss;
        settings.rows = shape.rows;
        settings.dim = shape.dim;
        settings.negative_rows = shape.negative_rows;
        settings.views = shape.views;
        settings.reduction = reduction;
        const double temperatures[] = {0.1, 0.5, 0.05};
        settings.temperature = temperatures[variant % 3];
        settings.normalize = variant % 4 != 1;
        settings.gradient = variant % 7 != 2;
        settings.offset = variant % 2;
        const int64_t counts[] = {0, 1, reduction == INFONCE_REDUCTION_NONE ? shape.rows : 1};
        settings.grad_output_count = counts[variant % 3];
        ++variant;
        INFO(describe(settings));
        check_case(all, settings);
      }
    }
  }
}

TEST_CASE("a problem of many panels is that of the reference") {
  std::vector<Engine> fastest;
  fastest.push_back({"best", INFONCE_PRECISION_HIGHEST,
                     std::make_unique<Context>(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 2)});
  for (const Loss loss : {Loss::kNtXentFirst, Loss::kInfoNceInBatch}) {
    Settings settings;
    settings.loss = loss;
    settings.rows = 4500;
    settings.dim = 6;
    INFO(describe(settings));
    check_case(fastest, settings);
  }
}

}  // namespace infonce::test

// The instruction sets of a device against each other, with sizes on both sides of the boundaries of their tiles.
#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "test/all_pairs.h"
#include "test/case.h"
#include "test/context.h"

namespace infonce::test {

namespace {

constexpr infonce_precision kPrecisions[] = {INFONCE_PRECISION_HIGHEST, INFONCE_PRECISION_HIGH,
                                             INFONCE_PRECISION_MEDIUM};
constexpr Loss kLossesOfTiles[] = {Loss::kNtXentFirst,    Loss::kSupCon,          Loss::kSupConMemory,
                                   Loss::kInfoNceInBatch, Loss::kInfoNceUnpaired, Loss::kClip};
constexpr int64_t kRows[] = {1, 63, 64, 65, 127, 128, 129, 255, 256, 257, 300};
constexpr int64_t kDims[] = {3, 63, 64, 65, 128, 129, 255, 256, 257, 320};
// Float32 sums with a constant shift, with an online maximum, and float64.
constexpr double kTemperatures[] = {0.1, 0.0125, 0.001};
constexpr Classes kClasses[] = {Classes::kPairs, Classes::kOne, Classes::kMixed};

template <class T, size_t size> constexpr int count(const T (&)[size]) { return static_cast<int>(size); }

// Their operands have the same bits, so that less separates them than each from the exact result.
double tolerance_of(infonce_precision precision) {
  switch (precision) {
    case INFONCE_PRECISION_HIGHEST:
      return 2e-5;
    case INFONCE_PRECISION_HIGH:
      return 2e-4;
    default:
      return 2e-3;
  }
}

struct Request {
  Settings settings;
  infonce_precision precision;
};

Request request_of(const std::vector<int> &chosen) {
  Settings settings;
  settings.loss = kLossesOfTiles[chosen[0]];
  settings.rows = kRows[chosen[1]];
  if (settings.loss == Loss::kNtXentFirst) {
    settings.rows += settings.rows % 2;
  }
  settings.negative_rows = kRows[chosen[2]];
  settings.dim = kDims[chosen[3]];
  settings.temperature = kTemperatures[chosen[4]];
  settings.classes = kClasses[chosen[5]];
  settings.normalize = chosen[6] == 0;
  settings.reduction = chosen[7] == 0 ? INFONCE_REDUCTION_MEAN : INFONCE_REDUCTION_NONE;
  return {settings, kPrecisions[chosen[8]]};
}

void check_close(const Buffer<float> &got, const Buffer<float> &expected, double tolerance) {
  double squares = 0;
  double length = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    squares += std::pow(double(got[i]) - expected[i], 2);
    length += std::pow(double(expected[i]), 2);
  }
  CHECK(std::sqrt(squares) <= tolerance * std::sqrt(length));
}

void check_agreement(const Output &got, const Output &expected, const Request &request) {
  const double tolerance = tolerance_of(request.precision);
  const auto close = [&](double a, double b) { return std::abs(a - b) <= tolerance * std::abs(b); };
  const double one_row =
      1.01 / static_cast<double>(request.settings.rows);  // whose rank sums in another order may turn
  CHECK(close(got.result.scalars.loss, expected.result.scalars.loss));
  CHECK(close(got.result.scalars.grad_scale, expected.result.scalars.grad_scale));
  CHECK(std::abs(got.result.scalars.top1 - expected.result.scalars.top1) <= one_row);
  CHECK(std::abs(got.result.scalars.top5 - expected.result.scalars.top5) <= one_row);
  check_close(got.row_loss, expected.row_loss, tolerance);
  for (size_t m = 0; m < got.gradients.size(); ++m) {
    check_close(got.gradients[m], expected.gradients[m], tolerance);
  }
}

}  // namespace

TEST_CASE("all generations of kernels agree on one device" * doctest::skip(on_cpu())) {
  std::map<infonce_precision, std::vector<std::unique_ptr<Context>>> contexts;
  for (const infonce_precision precision : kPrecisions) {
    for (const std::string &set : every_instruction_set()) {
      contexts[precision].push_back(std::make_unique<Context>(set, precision, 0));
    }
  }
  const std::vector<int> sizes = {
      count(kLossesOfTiles), count(kRows), count(kRows), count(kDims), count(kTemperatures), count(kClasses), 2, 2,
      count(kPrecisions)};
  for (const std::vector<int> &chosen : all_pairs(sizes)) {
    const Request request = request_of(chosen);
    const Case problem(request.settings);
    INFO(describe(request.settings));
    CAPTURE(request.precision);
    const std::vector<std::unique_ptr<Context>> &all = contexts[request.precision];
    const Output expected = run(*all.back(), problem);
    for (size_t k = 0; k + 1 < all.size(); ++k) {
      check_agreement(run(*all[k], problem), expected, request);
    }
  }
}

}  // namespace infonce::test

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "test/case.h"
#include "test/context.h"

namespace infonce::test {

namespace {

struct Spoiled {
  infonce_input input;
  Buffer<float> Case::*buffer;
  int64_t row_length;
};

bool all_nan(const Buffer<float> &buffer) {
  return std::all_of(buffer.begin(), buffer.end(), [](float value) { return std::isnan(value); });
}

void check_spoiled(const Context &context, const Settings &settings, const Spoiled &spoiled, float value) {
  Case problem(settings);
  const Buffer<float> &buffer = problem.*spoiled.buffer;
  if (buffer.size() == 0) {
    return;
  }
  const auto rows = static_cast<int64_t>(buffer.size()) / spoiled.row_length;
  const int64_t row = rows * 2 / 3;
  // Two bad rows: the first is reported, by whichever thread the others are found.
  buffer[static_cast<size_t>((row + 1) * spoiled.row_length) - 1] = value;
  buffer[buffer.size() - 1] = value;

  INFO(describe(settings));
  CAPTURE(spoiled.input);
  CAPTURE(value);
  Output output(problem);
  infonce_failure failure = empty_failure();
  CHECK(context.run(problem.problem, output.result, failure) == INFONCE_NON_FINITE);
  CHECK(failure.input == spoiled.input);
  CHECK(failure.row == row);
  CHECK(std::string(failure.message) != "");

  problem.problem.propagate_non_finite = 1;
  failure = empty_failure();
  REQUIRE_MESSAGE(context.run(problem.problem, output.result, failure) == INFONCE_OK, failure.message);
  CHECK(std::isnan(output.result.grad_scale));
  CHECK(std::isnan(output.result.top1));
  CHECK(std::isnan(output.result.top5));
  CHECK(all_nan(output.row_loss));
  CHECK(all_nan(output.grad_anchors));
  CHECK(all_nan(output.grad_keys));
  CHECK(all_nan(output.grad_negatives));
}

}  // namespace

TEST_CASE("NaN and infinity are reported with input and row, or make every result NaN") {
  for (const std::string &set : instruction_sets()) {
    const Context context(set, INFONCE_PRECISION_HIGHEST, 2);
    for (const Loss loss : kLosses) {
      for (const bool normalize : {true, false}) {
        Settings settings;
        settings.loss = loss;
        settings.rows = 130;
        settings.dim = 19;
        settings.negative_rows = 40;
        settings.reduction = INFONCE_REDUCTION_NONE;
        settings.normalize = normalize;
        settings.grad_output_count = settings.rows;
        const Spoiled inputs[] = {
            {INFONCE_INPUT_ANCHORS, &Case::anchors, settings.dim},
            {INFONCE_INPUT_KEYS, &Case::keys, settings.dim},
            {INFONCE_INPUT_NEGATIVES, &Case::negatives, settings.dim},
            {INFONCE_INPUT_GRAD_OUTPUT, &Case::grad_output, 1},
        };
        for (const Spoiled &spoiled : inputs) {
          for (const float value : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
            check_spoiled(context, settings, spoiled, value);
          }
        }
      }
    }
  }
}

}  // namespace infonce::test

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "test/case.h"
#include "test/context.h"

namespace infonce::test {

namespace {

void check_spoiled(const Context &context, const Settings &settings, int32_t matrix, float value) {
  Case problem(settings);
  const bool in_grad_output = matrix == INFONCE_IN_GRAD_OUTPUT;
  const Buffer<float> &buffer = in_grad_output ? problem.grad_output : problem.matrices[matrix];
  const int64_t row_length = in_grad_output ? 1 : settings.dim;
  const auto rows = static_cast<int64_t>(buffer.size()) / row_length;
  const int64_t row = rows * 2 / 3;
  // Two bad rows: the first is reported, by whichever thread the others are found.
  buffer[static_cast<size_t>((row + 1) * row_length) - 1] = value;
  buffer[buffer.size() - 1] = value;

  INFO(describe(settings));
  CAPTURE(matrix);
  CAPTURE(value);
  Output output(problem);
  infonce_failure failure = empty_failure();
  CHECK(context.run(problem.problem, output.result, failure) == INFONCE_NON_FINITE);
  CHECK(failure.matrix == matrix);
  CHECK(failure.row == row);
  CHECK(std::string(failure.message) != "");

  problem.problem.propagate_non_finite = 1;
  failure = empty_failure();
  REQUIRE_MESSAGE(context.run(problem.problem, output.result, failure) == INFONCE_OK, failure.message);
  CHECK(std::isnan(output.result.scalars.grad_scale));
  CHECK(std::isnan(output.result.scalars.top1));
  CHECK(std::isnan(output.result.scalars.top5));
  CHECK(all_nan(output.row_loss));
  CHECK(std::all_of(output.gradients.begin(), output.gradients.end(), all_nan));
}

}  // namespace

TEST_CASE("NaN and infinity are reported with matrix and row, or make every result NaN") {
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
        const int32_t count = Case(settings).problem.matrix_count;
        for (const float value : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
          check_spoiled(context, settings, INFONCE_IN_GRAD_OUTPUT, value);
          for (int32_t matrix = 0; matrix < count; ++matrix) {
            check_spoiled(context, settings, matrix, value);
          }
        }
      }
    }
  }
}

}  // namespace infonce::test

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "test/case.h"
#include "test/context.h"
#include "test/forms.h"

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

namespace {

// With two further matrices, whose every row a bias leaves out.
Inputs inputs_with_further(infonce_positive positive) {
  Form form;
  form.positive = positive;
  form.rows = 66;
  form.views = form.one_tower() ? 2 : 1;
  form.keys = form.one_tower() ? 0 : 70;
  form.further = {40, 50};
  form.dim = 19;
  form.ids = 9;
  Inputs inputs = inputs_of(form);
  for (int m = 0; m < inputs.problem.matrix_count; ++m) {
    if (is_candidate_alone(inputs.problem, m)) {
      infonce_matrix &matrix = inputs.problem.matrices[m];
      inputs.bias[m] = Buffer<float>(static_cast<size_t>(matrix.rows));
      std::fill(inputs.bias[m].begin(), inputs.bias[m].end(), -std::numeric_limits<float>::infinity());
      matrix.bias = inputs.bias[m].data();
    }
  }
  return inputs;
}

void check_reported(const Context &context, Inputs &inputs, int matrix, float *number, float value) {
  const float before = std::exchange(*number, value);
  CAPTURE(matrix);
  CAPTURE(value);
  Output output(inputs);
  output.want_rows(inputs);
  infonce_failure failure = empty_failure();
  CHECK(context.run(inputs.problem, output.result, failure) == INFONCE_NON_FINITE);
  CHECK(failure.matrix == matrix);
  CHECK(failure.row == 33);
  inputs.problem.propagate_non_finite = 1;
  failure = empty_failure();
  REQUIRE_MESSAGE(context.run(inputs.problem, output.result, failure) == INFONCE_OK, failure.message);
  inputs.problem.propagate_non_finite = 0;
  CHECK(std::isnan(output.result.scalars.loss));
  CHECK(std::isnan(output.result.scalars.grad_scale));
  CHECK(std::isnan(output.result.scalars.top1));
  CHECK(std::isnan(output.result.scalars.top5));
  CHECK(std::all_of(output.gradients.begin(), output.gradients.end(), all_nan));
  const Buffer<double> &losses = output.losses[0];
  CHECK(std::all_of(losses.begin(), losses.end(), [](double loss) { return std::isnan(loss); }));
  *number = before;
}

}  // namespace

TEST_CASE("rows of further candidates are reported, those that a bias leaves out too") {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  for (const std::string &set : instruction_sets()) {
    const Context context(set, INFONCE_PRECISION_HIGHEST, 2);
    for (const auto positive : {INFONCE_POSITIVE_FIRST_VIEW, INFONCE_POSITIVE_SAME_INDEX, INFONCE_POSITIVE_TARGET}) {
      Inputs inputs = inputs_with_further(positive);
      const auto length = static_cast<size_t>(inputs.problem.dim);
      CAPTURE(positive);
      for (int m = 0; m < inputs.problem.matrix_count; ++m) {
        check_reported(context, inputs, m, &inputs.matrices[m][34 * length - 1], kNan);
        check_reported(context, inputs, m, &inputs.matrices[m][33 * length], std::numeric_limits<float>::infinity());
      }
    }
  }
}

TEST_CASE("a bias that is neither a number nor -infinity is reported with matrix and row") {
  const Context context(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 2);
  for (const auto positive : {INFONCE_POSITIVE_FIRST_VIEW, INFONCE_POSITIVE_SAME_INDEX, INFONCE_POSITIVE_TARGET}) {
    Inputs inputs = inputs_with_further(positive);
    CAPTURE(positive);
    for (int m = 0; m < inputs.problem.matrix_count; ++m) {
      if (inputs.bias[m].size() > 0) {
        check_reported(context, inputs, m, &inputs.bias[m][33], std::numeric_limits<float>::quiet_NaN());
        check_reported(context, inputs, m, &inputs.bias[m][33], std::numeric_limits<float>::infinity());
      }
    }
  }
}

}  // namespace infonce::test

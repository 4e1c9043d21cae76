// Without ranks, top1 and top5 are NaN and all other results keep their bits.
#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "test/case.h"
#include "test/context.h"

namespace infonce::test {

namespace {

void check_ranks(const Context &context, Settings settings) {
  INFO(describe(settings));
  for (const bool gradient : {true, false}) {
    settings.gradient = gradient;
    settings.ranks = true;
    const Output expected = run(context, Case(settings));
    CHECK(expected.result.scalars.top1 <= expected.result.scalars.top5);
    CHECK(expected.result.scalars.top5 <= 1);
    settings.ranks = false;
    Output got = run(context, Case(settings));
    CHECK(std::isnan(got.result.scalars.top1));
    CHECK(std::isnan(got.result.scalars.top5));
    got.result.scalars.top1 = expected.result.scalars.top1;
    got.result.scalars.top5 = expected.result.scalars.top5;
    CHECK(identical(got, expected));
  }
}

Settings settings_of(Loss loss, int64_t rows) { return {loss, rows, simulated() ? 20 : 40, 50}; }

}  // namespace

TEST_CASE("without ranks the losses and gradients have the same bits") {
  const std::vector<int64_t> sizes = simulated() ? std::vector<int64_t>{140} : std::vector<int64_t>{6, 30, 210, 1100};
  for (const std::string &set : instruction_sets()) {
    for (const auto precision : {INFONCE_PRECISION_HIGHEST, INFONCE_PRECISION_HIGH, INFONCE_PRECISION_MEDIUM}) {
      if (simulated() && precision == INFONCE_PRECISION_HIGH) {
        continue;
      }
      const Context context(set, precision, 2);
      CAPTURE(set);
      CAPTURE(precision);
      for (const Loss loss : kLosses) {
        for (const int64_t rows : sizes) {
          // No shift, a constant one, a running maximum.
          for (const double temperature : {0.1, 0.0125, 0.001}) {
            Settings settings = settings_of(loss, rows);
            settings.temperature = temperature;
            settings.reduction = INFONCE_REDUCTION_NONE;
            settings.grad_output_count = rows;
            check_ranks(context, settings);
          }
        }
      }
    }
  }
}

TEST_CASE("without ranks classes of any size and rows that are not normalised have the same bits") {
  const Context context(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 2);
  for (const Loss loss : {Loss::kSupCon, Loss::kSupConMemory}) {
    for (const Classes classes : {Classes::kPairs, Classes::kOne, Classes::kMixed}) {
      Settings settings = settings_of(loss, 200);
      settings.classes = classes;
      check_ranks(context, settings);
      settings.normalize = false;
      check_ranks(context, settings);
    }
  }
}

TEST_CASE("without ranks calls of many tiles have the same bits" * doctest::skip(simulated())) {
  const Context context(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 2);
  for (const Loss loss : {Loss::kNtXentFirst, Loss::kInfoNceUnpaired, Loss::kSupConMemory, Loss::kClip}) {
    Settings settings = settings_of(loss, 9000);
    settings.dim = 4;
    settings.negative_rows = 8000;
    check_ranks(context, settings);
  }
}

TEST_CASE("without ranks NaN in the input makes the results NaN too") {
  const Context context(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 2);
  for (const Loss loss : kLosses) {
    Settings settings = settings_of(loss, 30);
    settings.ranks = false;
    INFO(describe(settings));
    Case problem(settings);
    problem.matrices[kAnchors][3] = NAN;
    Output output(problem);
    infonce_failure failure = empty_failure();
    CHECK(context.run(problem.problem, output.result, failure) == INFONCE_NON_FINITE);
    CHECK(failure.matrix == kAnchors);
    problem.problem.propagate_non_finite = 1;
    CHECK(context.run(problem.problem, output.result, failure) == INFONCE_OK);
    CHECK(std::isnan(output.result.scalars.loss));
    CHECK(std::isnan(output.result.scalars.top1));
    CHECK(std::isnan(output.gradients[kAnchors][0]));
  }
}

}  // namespace infonce::test

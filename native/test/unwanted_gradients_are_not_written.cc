#include <doctest/doctest.h>

#include <algorithm>

#include "test/backend.h"
#include "test/case.h"
#include "test/context.h"

namespace infonce::test {

TEST_CASE("a call without gradient leaves the gradient arrays alone") {
  constexpr float kMark = 7;
  const Context context(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 1);
  for (const Loss loss : kLosses) {
    Settings settings;
    settings.loss = loss;
    settings.rows = 12;
    settings.dim = 9;
    settings.negative_rows = 5;
    INFO(describe(settings));
    Case problem(settings);
    Output output(problem);
    problem.problem.gradient = 0;
    for (const Buffer<float> &array : output.gradients) {
      std::fill(array.begin(), array.end(), kMark);
    }
    infonce_failure failure = empty_failure();
    REQUIRE_MESSAGE(context.run(problem.problem, output.result, failure) == INFONCE_OK, failure.message);
    for (const Buffer<float> &array : output.gradients) {
      CHECK(std::all_of(array.begin(), array.end(), [](float value) { return value == kMark; }));
    }
  }
}

TEST_CASE("without the gradient of the negatives all other results keep their bits") {
  const Context context(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 2);
  for (const Loss loss : {Loss::kInfoNceUnpaired, Loss::kInfoNcePaired}) {
    // One tile of the matrix and several.
    for (const int64_t rows : {70, 6000}) {
      const bool large = rows > 1000;
      if (large && (simulated() || loss == Loss::kInfoNcePaired)) {
        continue;
      }
      for (const double temperature : {0.1, 0.001}) {
        Settings settings;
        settings.loss = loss;
        settings.rows = rows;
        settings.dim = large ? 3 : 33;
        settings.negative_rows = large ? rows : 40;
        settings.temperature = temperature;
        INFO(describe(settings));
        const Case problem(settings);
        Output expected = run(context, problem);
        Output got(problem);
        infonce_failure failure = empty_failure();
        got.result.gradients[kNegatives].data = nullptr;
        REQUIRE_MESSAGE(context.run(problem.problem, got.result, failure) == INFONCE_OK, failure.message);
        Buffer<float> &unwanted = got.gradients[kNegatives];
        CHECK(all_zero(unwanted));
        expected.gradients[kNegatives] = Buffer<float>();
        unwanted = Buffer<float>();
        CHECK(identical(got, expected));
      }
    }
  }
}

}  // namespace infonce::test

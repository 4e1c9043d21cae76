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
    const auto arrays = {&output.grad_anchors, &output.grad_keys, &output.grad_negatives};
    for (const Buffer<float> *array : arrays) {
      std::fill(array->begin(), array->end(), kMark);
    }
    infonce_failure failure = empty_failure();
    REQUIRE_MESSAGE(context.run(problem.problem, output.result, failure) == INFONCE_OK, failure.message);
    for (const Buffer<float> *array : arrays) {
      CHECK(std::all_of(array->begin(), array->end(), [](float value) { return value == kMark; }));
    }
  }
}

}  // namespace infonce::test

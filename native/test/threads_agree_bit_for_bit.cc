#include <doctest/doctest.h>

#include <string>

#include "test/case.h"
#include "test/context.h"

namespace infonce::test {

namespace {

Output run(const Context &context, const Case &problem) {
  Output output(problem);
  infonce_failure failure = empty_failure();
  REQUIRE_MESSAGE(context.run(problem.problem, output.result, failure) == INFONCE_OK, failure.message);
  return output;
}

void check_threads(const std::string &set, infonce_precision precision) {
  const Context one(set, precision, 1);
  const Context two(set, precision, 2);
  const Context three(set, precision, 3);
  for (const Loss loss : kLosses) {
    for (const int64_t rows : {34, 300, 1000}) {
      Settings settings;
      settings.loss = loss;
      settings.rows = rows;
      settings.dim = 40;
      settings.negative_rows = 50;
      settings.reduction = INFONCE_REDUCTION_NONE;
      settings.grad_output_count = rows;
      const Case problem(settings);
      CAPTURE(set);
      CAPTURE(precision);
      INFO(describe(settings));
      const Output expected = run(one, problem);
      CHECK(identical(run(one, problem), expected));
      CHECK(identical(run(two, problem), expected));
      CHECK(identical(run(three, problem), expected));
    }
  }
}

}  // namespace

TEST_CASE("any number of threads gives the same bits") {
  for (const std::string &set : instruction_sets()) {
    for (const auto precision : {INFONCE_PRECISION_HIGHEST, INFONCE_PRECISION_MEDIUM}) {
      check_threads(set, precision);
    }
  }
}

}  // namespace infonce::test

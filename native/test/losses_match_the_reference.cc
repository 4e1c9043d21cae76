// Every loss on ragged sizes, by every instruction set, precision and thread count, against float64.
#include <doctest/doctest.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "test/agreement.h"
#include "test/case.h"
#include "test/context.h"
#include "test/engines.h"

namespace infonce::test {

namespace {

void check_case(const std::vector<Engine> &engines, const Settings &settings) {
  const Case problem(settings);
  const Reference exact = reference(problem);
  std::map<infonce_precision, Expectation> expected;
  for (const Engine &engine : engines) {
    CAPTURE(engine.name);
    Output got(problem);
    infonce_failure failure = empty_failure();
    REQUIRE_MESSAGE(engine.context->run(problem.problem, got.result, failure) == INFONCE_OK, failure.message);
    expected.try_emplace(engine.precision, problem, engine.precision, exact).first->second.check(got);
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

// Every shape, with the options in turn.
void check_shapes(const std::vector<Loss> &losses) {
  const std::vector<Engine> all = engines();
  for (size_t s = 0; s < std::size(kShapes); ++s) {
    const Shape &shape = kShapes[s];
    for (size_t l = 0; l < losses.size(); ++l) {
      const Loss loss = losses[l];
      // A sequence of its own, so that a further loss changes no other's.
      size_t variant = 3 * (7 * s + l);
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

}  // namespace

TEST_CASE("every loss matches the reference") {
  std::vector<Loss> losses(std::begin(kLosses), std::end(kLosses));
  losses.erase(std::find(losses.begin(), losses.end(), Loss::kSupConMemory));
  check_shapes(losses);
}

TEST_CASE("supCon with a memory matches the reference") { check_shapes({Loss::kSupConMemory}); }

TEST_CASE("a problem of many panels matches the reference" * doctest::skip(simulated())) {
  const std::vector<Engine> best = best_engines({INFONCE_PRECISION_HIGHEST});
  for (const Loss loss : {Loss::kNtXentFirst, Loss::kInfoNceInBatch, Loss::kSupConMemory}) {
    Settings settings;
    settings.loss = loss;
    settings.rows = 4500;
    settings.dim = 6;
    settings.negative_rows = 6000;
    INFO(describe(settings));
    check_case(best, settings);
  }
}

}  // namespace infonce::test

// A matrix has its part in a problem by the blocks and softmaxes that name it, not by its index.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "test/case.h"
#include "test/context.h"

namespace infonce::test {

namespace {

void reverse_matrices(infonce_problem *problem, infonce_result *result) {
  const int last = problem->matrix_count - 1;
  std::reverse(problem->matrices, problem->matrices + problem->matrix_count);
  std::reverse(result->gradients, result->gradients + problem->matrix_count);
  for (infonce_block &block : problem->blocks) {
    block.anchors = last - block.anchors;
    block.candidates = last - block.candidates;
  }
  for (infonce_softmax &softmax : problem->softmaxes) {
    uint32_t positives = 0;
    for (int m = 0; m <= last; ++m) {
      positives |= (softmax.positive_matrices >> m & 1) << (last - m);
    }
    softmax.anchors = last - softmax.anchors;
    softmax.positive_matrices = positives;
  }
}

}  // namespace

TEST_CASE("matrices in reverse order give the same bits, and failures their own index") {
  const Context context(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 2);
  for (const Loss loss : kLosses) {
    Settings settings;
    settings.loss = loss;
    settings.rows = 130;
    settings.dim = 19;
    settings.negative_rows = 40;
    settings.reduction = INFONCE_REDUCTION_NONE;
    settings.grad_output_count = settings.rows;
    INFO(describe(settings));
    const Case problem(settings);
    const Output expected = run(context, problem);
    Output got(problem);
    infonce_problem reversed = problem.problem;
    reverse_matrices(&reversed, &got.result);
    infonce_failure failure = empty_failure();
    REQUIRE_MESSAGE(context.run(reversed, got.result, failure) == INFONCE_OK, failure.message);
    CHECK(identical(got, expected));
    for (int m = 0; m < reversed.matrix_count; ++m) {
      float &element = problem.matrices[m][0];
      const float before = element;
      element = NAN;
      CHECK(context.run(reversed, got.result, failure) == INFONCE_NON_FINITE);
      CHECK(failure.matrix == reversed.matrix_count - 1 - m);
      element = before;
    }
  }
}

}  // namespace infonce::test

// Candidates above a threshold are left out, by every instruction set and precision, against float64; and what the contract
// does not allow.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "test/agreement.h"
#include "test/context.h"
#include "test/engines.h"
#include "test/forms.h"
#include "test/reference.h"

namespace infonce::test {

namespace {

uint32_t seeds() { return simulated() ? 6 : 60; }

void check_on(const Engine &engine, const Inputs &inputs, const Expectation &expected) {
  CAPTURE(engine.name);
  expected.check(run_with_rows(*engine.context, inputs));
}

}  // namespace

TEST_CASE("thresholds of a guide match the reference") {
  const std::vector<Engine> all = engines();
  for (uint32_t seed = 0; seed < seeds(); ++seed) {
    const Form form = random_form_with_threshold(seed, true);
    INFO(describe(form));
    const Inputs inputs = inputs_of(form);
    const Reference exact = reference(inputs);
    for (const Engine &engine : all) {
      check_on(engine, inputs, Expectation(inputs, engine.precision, exact));
    }
  }
}

TEST_CASE("thresholds of own cosines match the reference") {
  const std::vector<Engine> all = engines();
  for (uint32_t seed = 1000; seed < 1000 + seeds(); ++seed) {
    const Form form = random_form_with_threshold(seed, false);
    INFO(describe(form));
    const Inputs inputs = inputs_of(form);
    const Expectation expected(inputs, INFONCE_PRECISION_HIGHEST);
    for (const Engine &engine : all) {
      if (engine.precision == INFONCE_PRECISION_HIGHEST) {
        check_on(engine, inputs, expected);
      }
    }
  }
}

// A pair that one pass leaves out and the other does not would be in one of the two alone.
TEST_CASE("a threshold decides alike in losses and gradients, at every level of precision") {
  for (const Engine &engine : engines()) {
    CAPTURE(engine.name);
    for (uint32_t seed = 2000; seed < 2000 + seeds() / 2; ++seed) {
      Form form = random_form_with_threshold(seed, false);
      form.normalize = form.gradient = true;
      form.temperature = 0.5;
      form.reduction = INFONCE_REDUCTION_SUM;
      form.grad_output_count = 0;
      form.stretch = 0;
      form.threshold_margin = 0.01;  // beyond copies of the positive
      form.unwanted = false;
      INFO(describe(form));
      const Inputs inputs = inputs_of(form);
      const Output got = run_with_rows(*engine.context, inputs);
      // Rows of anchors that have no candidate but their positive have no gradient, and the others have one.
      const Buffer<float> &gradient = got.gradients[inputs.problem.softmaxes[0].anchors];
      const Buffer<float> &anchors = inputs.matrices[inputs.problem.softmaxes[0].anchors];
      for (int64_t i = 0; i < form.rows; ++i) {
        double size = 0, length = 0;
        for (int64_t d = 0; d < form.dim; ++d) {
          size += std::abs(gradient[static_cast<size_t>(i * form.dim + d)]);
          length += std::abs(anchors[static_cast<size_t>(i * form.dim + d)]);
        }
        const bool is_alone = got.losses[0][static_cast<size_t>(i)] == 0;
        CHECK((is_alone ? size == 0 : size > 0 || length == 0 || form.rows < 6));
      }
    }
  }
}

TEST_CASE("thresholds that the contract does not allow are refused") {
  const Context context(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 2);
  Form form;
  form.rows = 12;
  form.keys = 15;
  form.further = {9};
  form.dim = 5;
  form.threshold = INFONCE_THRESHOLD_ABSOLUTE;
  const auto refuses = [&](const std::string &what, const Inputs &good, auto &&spoil) {
    CAPTURE(what);
    Output output(good);
    infonce_problem problem = good.problem;
    spoil(problem);
    infonce_failure failure = empty_failure();
    CHECK(context.run(problem, output.result, failure) == INFONCE_INVALID_ARGUMENT);
    CHECK(std::string(failure.message) != "");
    check_that_it_runs(context, good);
  };
  using Problem = infonce_problem;
  const Inputs own = inputs_of(form);
  refuses("unknown", own, [](Problem &p) { p.blocks[0].threshold = 3; });
  refuses("negative", own, [](Problem &p) { p.blocks[0].threshold = -1; });
  refuses("of one block", own, [](Problem &p) { p.blocks[0].threshold = 0; });
  refuses("of two kinds", own, [](Problem &p) { p.blocks[0].threshold = INFONCE_THRESHOLD_RELATIVE; });
  refuses("two margins", own, [](Problem &p) { p.blocks[1].threshold_margin = 1; });
  refuses("NaN", own, [](Problem &p) { p.blocks[0].threshold_margin = p.blocks[1].threshold_margin = NAN; });
  refuses("smoothed", own, [](Problem &p) { p.softmaxes[0].label_smoothing = 0.1; });
  refuses("decoupled", own, [](Problem &p) { p.softmaxes[0].row_loss = INFONCE_ROW_LOSS_DECOUPLED; });
  refuses("a guide without a threshold of it", own, [&](Problem &p) { p.matrices[0].guide = own.matrices[0].data(); });
  refuses("a dimension of no guide", own, [](Problem &p) { p.guide_dim = 5; });
  refuses("by a guide that is not there", own, [](Problem &p) { p.blocks[0].by_guide = p.blocks[1].by_guide = 1; });
  form.by_guide = true;
  const Inputs guided = inputs_of(form);
  refuses("by_guide of 2", guided, [](Problem &p) { p.blocks[0].by_guide = p.blocks[1].by_guide = 2; });
  refuses("one guide missing", guided, [](Problem &p) { p.matrices[1].guide = nullptr; });
  refuses("no dimension", guided, [](Problem &p) { p.guide_dim = 0; });
  refuses("a negative one", guided, [](Problem &p) { p.guide_dim = -5; });
  refuses("too large", guided, [](Problem &p) { p.guide_dim = int64_t(1) << 50; });
  refuses("unknown type", guided, [](Problem &p) { p.matrices[2].guide_type = 3; });
  refuses("unknown residence", guided, [](Problem &p) { p.matrices[2].guide_residence = 2; });

  infonce_failure failure = empty_failure();
  Form triangle = form;
  triangle.by_guide = false;
  triangle.keys = triangle.rows;
  triangle.other_anchors = true;
  const Inputs with_triangle = inputs_of(triangle);
  Output output(with_triangle);
  CHECK(context.run(with_triangle.problem, output.result, failure) == INFONCE_INVALID_ARGUMENT);
}

TEST_CASE("NaN in a guide is reported with its row") {
  Form form;
  form.rows = form.keys = 20;
  form.further = {9};
  form.dim = 5;
  form.threshold = INFONCE_THRESHOLD_ABSOLUTE;
  form.by_guide = true;
  const Context context(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 2);
  for (int m = 0; m < 2; ++m) {
    const Inputs inputs = inputs_of(form);
    const int matrix = m == 0 ? inputs.problem.softmaxes[0].anchors : 0;
    inputs.guides[matrix][static_cast<size_t>(inputs.problem.guide_dim)] = NAN;
    Output output(inputs);
    infonce_failure failure = empty_failure();
    CHECK(context.run(inputs.problem, output.result, failure) == INFONCE_NON_FINITE);
    CHECK(failure.matrix == INFONCE_GUIDE_OF + matrix);
    CHECK(failure.row == 1);
  }
}

}  // namespace infonce::test

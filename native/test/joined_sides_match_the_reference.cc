// Losses whose rows are summed up from both sides of blocks, and from blocks without anchors.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "test/agreement.h"
#include "test/context.h"
#include "test/engines.h"
#include "test/forms.h"
#include "test/reference.h"

namespace infonce::test {

namespace {

void check(const std::vector<Engine> &engines, const Inputs &inputs) {
  const Reference exact = reference(inputs);
  for (const Engine &engine : engines) {
    CAPTURE(engine.name);
    Output got(inputs);
    got.want_rows(inputs);
    infonce_failure failure = empty_failure();
    REQUIRE_MESSAGE(engine.context->run(inputs.problem, got.result, failure) == INFONCE_OK, failure.message);
    Expectation(inputs, engine.precision, exact).check(got);
  }
}

// Which of the blocks there are.
Form form_of(uint32_t bits, int64_t rows) {
  Form form;
  form.seed = bits;
  form.rows = form.keys = rows;
  form.dim = 19;
  form.joint = bits & 1;
  form.keys_apart = bits & 2;
  form.other_keys = bits & 4;
  form.keys_to_further = bits & 8;
  form.other_anchors = bits & 16;
  form.own = 2;
  form.among = true;
  form.further = {31};
  form.stretch = 4;
  return form;
}

// All that a row has but its positive is left out.
Form alone(uint32_t bits, double temperature) {
  Form form = form_of(bits, 66);
  form.own = 0;
  form.among = false;
  form.further = {};
  form.ids = 1;
  form.stretch = 0;
  form.temperature = temperature;
  form.reduction = INFONCE_REDUCTION_NONE;
  return form;
}

}  // namespace

TEST_CASE("any joined sides match the reference") {
  const std::vector<Engine> all = engines_for_rules();
  for (const int64_t rows : {int64_t{1}, int64_t{5}, int64_t{130}}) {
    for (uint32_t bits = 1; bits < 32; bits += !simulated() ? 1 : rows == 130 ? 7 : 3) {
      Form form = form_of(bits, rows);
      form.temperature = bits % 3 == 0 ? 0.01 : 0.1;
      form.normalize = bits % 5 != 0;
      form.unwanted = bits % 2 == 0;
      INFO(describe(form));
      check(all, inputs_of(form));
    }
  }
}

TEST_CASE("joined sides of two softmaxes match the reference") {
  const std::vector<Engine> all = engines_for_rules();
  for (const uint32_t bits : {2U, 4U, 8U, 14U, 30U}) {
    Form form = form_of(bits, 70);
    form.both_directions = true;
    INFO(describe(form));
    check(all, inputs_of(form));
  }
}

TEST_CASE("joined sides of many tiles match the reference on any number of threads" * doctest::skip(simulated())) {
  std::vector<Engine> some;
  for (const int threads : {1, 2, 3}) {
    const std::string best = instruction_sets().front();
    some.push_back(
        {"best", INFONCE_PRECISION_HIGHEST, std::make_unique<Context>(best, INFONCE_PRECISION_HIGHEST, threads)});
  }
  for (const uint32_t bits : {29U, 30U}) {
    Form form = form_of(bits, 2500);  // more than is kept for the gradient
    form.dim = 4;
    form.unwanted = bits == 30;
    INFO(describe(form));
    const Inputs inputs = inputs_of(form);
    check(some, inputs);
    const Output first = run(*some.front().context, inputs);
    for (const Engine &engine : some) {
      CHECK(identical(first, run(*engine.context, inputs)));
    }
  }
}

TEST_CASE("with only a positive, the loss is the log of its multiplicity and the gradient is 0") {
  const std::vector<Engine> all = engines_for_rules();
  for (const double temperature : {0.1, 0.001}) {
    for (const uint32_t bits : {1U, 2U, 4U, 5U, 20U, 22U}) {
      const Form form = alone(bits, temperature);
      INFO(describe(form));
      Inputs inputs = inputs_of(form);
      for (int b = 0; b < inputs.problem.block_count; ++b) {
        inputs.problem.blocks[b].left_out |= INFONCE_LEAVE_OUT_SAME_ID;
      }
      const double expected = form.joint || form.keys_apart ? std::log(2.0) : 0.0;
      for (const Engine &engine : all) {
        CAPTURE(engine.name);
        const Output got = run(*engine.context, inputs);
        CHECK(got.result.scalars.grad_scale == 0);
        CHECK(got.result.scalars.top1 == 1);
        for (const float loss : got.row_loss) {
          CHECK(std::abs(loss - expected) <= 1e-7);
        }
        for (const Buffer<float> &gradient : got.gradients) {
          CHECK(all_zero(gradient));
        }
      }
    }
  }
}

TEST_CASE("keys in a block of their own are the keys of the other side") {
  const std::vector<Engine> all = engines_for_rules();
  Form form = form_of(1, 70);
  form.stretch = 0;
  Inputs inputs = inputs_of(form);
  const Reference exact = reference(inputs);
  infonce_problem &problem = inputs.problem;
  const infonce_softmax &softmax = problem.softmaxes[0];
  for (int b = 0; b < problem.block_count; ++b) {
    infonce_block &block = problem.blocks[b];
    if (softmax.positive_matrices == bit_of(block.candidates)) {
      block.column_softmax = -1;
      problem.blocks[problem.block_count] = block_of(block.candidates, block.anchors, 0, -1);
    }
  }
  ++problem.block_count;
  for (const Engine &engine : all) {
    CAPTURE(engine.name);
    Output got(inputs);
    got.want_rows(inputs);
    infonce_failure failure = empty_failure();
    REQUIRE(engine.context->run(problem, got.result, failure) == INFONCE_OK);
    Expectation(inputs, engine.precision, exact).check(got);
  }
}

}  // namespace infonce::test

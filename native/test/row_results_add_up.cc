// What each row of a softmax came to, in float64: the call's loss and ranks follow from it.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "common/row_loss.h"
#include "test/agreement.h"
#include "test/context.h"
#include "test/engines.h"
#include "test/forms.h"

namespace infonce::test {

namespace {

// The share of rows with a positive that fewer than `most` candidates outrank, weighted over the softmaxes.
double share_with_fewer(const infonce_problem &problem, const Output &output, int32_t most) {
  double share = 0;
  for (int s = 0; s < problem.softmax_count; ++s) {
    const Buffer<int32_t> &above = output.above[s];
    const auto count =
        std::count_if(above.begin(), above.end(), [most](int32_t above) { return above >= 0 && above < most; });
    share += problem.softmaxes[s].weight * static_cast<double>(count) / static_cast<double>(above.size());
  }
  return share;
}

void check_sums(const infonce_problem &problem, const Output &output) {
  const bool mean = problem.reduction == INFONCE_REDUCTION_MEAN;
  double loss = 0;
  double size = 0;  // of its terms, which may cancel
  for (int s = 0; s < problem.softmax_count; ++s) {
    double sum = 0;
    for (const double row : output.losses[s]) {
      CHECK((row >= 0 || !has_positives(problem.softmaxes[s].row_loss)));
      sum += row;
      size += std::abs(row);
    }
    const double share = mean ? 1 / static_cast<double>(output.losses[s].size()) : 1;
    loss += problem.softmaxes[s].weight * share * sum;
  }
  CHECK(std::abs(output.result.scalars.loss - loss) <= 1e-12 * size);
  for (size_t i = 0; i < output.row_loss.size(); ++i) {
    double row = 0;
    for (int s = 0; s < problem.softmax_count; ++s) {
      row += problem.softmaxes[s].weight * output.losses[s][i];
    }
    // Half a unit in the last place of float32.
    CHECK(std::abs(output.row_loss[i] - row) <= 1e-7 * std::abs(row) + std::numeric_limits<float>::min());
  }
  if (problem.ranks) {
    CHECK(std::abs(output.result.scalars.top1 - share_with_fewer(problem, output, 1)) <= 1e-12);
    CHECK(std::abs(output.result.scalars.top5 - share_with_fewer(problem, output, 5)) <= 1e-12);
  }
}

// The rows match the reference, too.
void check_rows(const std::vector<Engine> &engines, const Inputs &inputs) {
  const Reference exact = reference(inputs);
  for (const Engine &engine : engines) {
    CAPTURE(engine.name);
    const Output got = run_with_rows(*engine.context, inputs);
    Expectation(inputs, engine.precision, exact).check(got);
    check_sums(inputs.problem, got);
  }
}

// Makes the further candidates, of as many rows, a copy of the keys.
void repeat_keys(Inputs &inputs, bool bias) {
  infonce_problem &problem = inputs.problem;
  const int anchors = problem.softmaxes[0].anchors;
  for (int keys = 0; keys < problem.matrix_count; ++keys) {
    const int further = 3 - keys - anchors;
    if (!(problem.softmaxes[0].positive_matrices & bit_of(keys))) {
      continue;
    }
    std::copy(inputs.matrices[keys].begin(), inputs.matrices[keys].end(), inputs.matrices[further].begin());
    for (const int m : {keys, further}) {
      inputs.bias[m] = Buffer<float>(bias ? static_cast<size_t>(problem.matrices[m].rows) : 0);
      problem.matrices[m].bias = bias ? inputs.bias[m].data() : nullptr;
      for (size_t j = 0; j < inputs.bias[m].size(); ++j) {
        inputs.bias[m][j] = 0.25F * static_cast<float>(j % 9);
      }
    }
  }
}

Settings settings_of(Loss loss, infonce_reduction reduction) {
  Settings settings;
  settings.loss = loss;
  settings.rows = 130;
  settings.dim = 64;
  settings.negative_rows = 30;
  settings.reduction = reduction;
  return settings;
}

constexpr infonce_reduction kReductions[] = {INFONCE_REDUCTION_MEAN, INFONCE_REDUCTION_SUM, INFONCE_REDUCTION_NONE};

}  // namespace

TEST_CASE("the rows of every loss match the reference and add up to its loss and ranks") {
  const std::vector<Engine> all = engines_for_rules();
  for (const Loss loss : kLosses) {
    for (const infonce_reduction reduction : kReductions) {
      for (const double temperature : {0.07, 0.001}) {
        Settings settings = settings_of(loss, reduction);
        settings.temperature = temperature;
        INFO(describe(settings));
        check_rows(all, Case(settings));
      }
    }
  }
}

TEST_CASE("the rows of any form add up to its loss and ranks") {
  const Context context(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 2);
  for (uint32_t seed = 1000; seed < (simulated() ? 1008 : 1080); ++seed) {
    const Form form = random_form(seed);
    INFO(describe(form));
    const Inputs inputs = inputs_of(form);
    check_sums(inputs.problem, run_with_rows(context, inputs));
  }
}

TEST_CASE("the rows of many tiles add up to the loss and ranks" * doctest::skip(simulated())) {
  const Context context(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 2);
  for (const Loss loss : {Loss::kNtXentFirst, Loss::kInfoNceInBatch, Loss::kClip, Loss::kSupConMemory}) {
    for (const double temperature : {0.1, 0.001}) {
      Settings settings = settings_of(loss, INFONCE_REDUCTION_MEAN);
      settings.rows = 2500;
      settings.dim = 9;
      settings.negative_rows = 2100;
      settings.temperature = temperature;
      INFO(describe(settings));
      const Case problem(settings);
      check_sums(problem.problem, run_with_rows(context, problem));
    }
  }
}

TEST_CASE("a call that asks for rows gives the same bits in all else") {
  for (const std::string &set : instruction_sets()) {
    const Context context(set, INFONCE_PRECISION_HIGHEST, 2);
    for (const Loss loss : kLosses) {
      const Settings settings = settings_of(loss, INFONCE_REDUCTION_NONE);
      INFO(describe(settings));
      const Case problem(settings);
      Output expected = run_with_rows(context, problem);
      const auto losses = std::move(expected.losses);
      const auto above = std::move(expected.above);
      expected.losses = {};
      expected.above = {};
      CHECK(identical(run(context, problem), expected));

      // Of the last softmax alone, and one kind alone.
      const int last = problem.problem.softmax_count - 1;
      Output some(problem);
      some.losses[last] = Buffer<double>(losses[last].size());
      some.result.rows[last].loss = some.losses[last].data();
      infonce_failure failure = empty_failure();
      REQUIRE_MESSAGE(context.run(problem.problem, some.result, failure) == INFONCE_OK, failure.message);
      CHECK(std::equal(losses[last].begin(), losses[last].end(), some.losses[last].begin()));
    }
  }
}

TEST_CASE("a forward call gives the rows of a whole one") {
  const Context context(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 2);
  for (const Loss loss : kLosses) {
    const Settings settings = settings_of(loss, INFONCE_REDUCTION_MEAN);
    INFO(describe(settings));
    const Case problem(settings);
    const Output expected = run_with_rows(context, problem);
    Output got(problem);
    got.want_rows(problem);
    infonce_saved *saved = nullptr;
    infonce_failure failure = empty_failure();
    const infonce_status status = backend().forward(context.handle(), &problem.problem, &got.result, &saved, &failure);
    REQUIRE_MESSAGE(status == INFONCE_OK, failure.message);
    backend().saved_destroy(context.handle(), saved);
    for (int s = 0; s < problem.problem.softmax_count; ++s) {
      CHECK(std::equal(expected.losses[s].begin(), expected.losses[s].end(), got.losses[s].begin()));
      CHECK(std::equal(expected.above[s].begin(), expected.above[s].end(), got.above[s].begin()));
    }
  }
}

TEST_CASE("without ranks nothing is counted above the positives") {
  constexpr int32_t kMark = 77;
  const Context context(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 2);
  for (const Loss loss : kLosses) {
    const Settings settings = settings_of(loss, INFONCE_REDUCTION_MEAN);
    INFO(describe(settings));
    Case problem(settings);
    Output output(problem);
    output.want_rows(problem);
    problem.problem.ranks = 0;
    for (const Buffer<int32_t> &above : output.above) {
      std::fill(above.begin(), above.end(), kMark);
    }
    infonce_failure failure = empty_failure();
    REQUIRE_MESSAGE(context.run(problem.problem, output.result, failure) == INFONCE_OK, failure.message);
    for (const Buffer<int32_t> &above : output.above) {
      CHECK(std::all_of(above.begin(), above.end(), [](int32_t count) { return count == kMark; }));
    }
  }
}

TEST_CASE("a duplicate of a positive is not above it") {
  for (const std::string &set : instruction_sets()) {
    for (const auto precision : {INFONCE_PRECISION_HIGHEST, INFONCE_PRECISION_HIGH, INFONCE_PRECISION_MEDIUM}) {
      const Context context(set, precision, 2);
      CAPTURE(set);
      CAPTURE(precision);
      Form form;
      form.positive = INFONCE_POSITIVE_TARGET;
      form.rows = 70;
      form.keys = 65;
      form.dim = 33;
      form.further = {form.keys};
      for (const bool bias : {false, true}) {
        Inputs inputs = inputs_of(form);
        repeat_keys(inputs, bias);
        const Output got = run_with_rows(context, inputs);
        // Every other key that is above has its duplicate there, too.
        CHECK(std::all_of(got.above[0].begin(), got.above[0].end(), [](int32_t above) { return above % 2 == 0; }));
        CHECK(std::any_of(got.above[0].begin(), got.above[0].end(), [](int32_t above) { return above > 0; }));
      }
    }
  }
}

}  // namespace infonce::test

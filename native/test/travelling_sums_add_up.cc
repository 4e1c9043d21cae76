// Calls of several ranks whose candidates travel with sums of their own come to what one call on all rows comes to.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "test/agreement.h"
#include "test/backend.h"
#include "test/context.h"
#include "test/engines.h"
#include "test/forms.h"
#include "test/travelling.h"

namespace infonce::test {

namespace {

constexpr int kMostRanks = 4;

using Contexts = ContextsOfRanks<kMostRanks>;

// Two towers in both directions, or with the other anchors, or one with views.
Form form_that_travels(uint32_t seed) {
  Form form = form_to_share(random_form(seed));
  form.own = 0;
  form.stretch = form.label_smoothing = 0;
  if (seed % 2 == 0) {
    form.in_batch = true;
    form.both_directions = form.other_anchors = false;
    set_one_tower(&form, seed % 4 == 0 ? INFONCE_POSITIVE_FIRST_VIEW : INFONCE_POSITIVE_ALL_VIEWS,
                  form.rows / 3 + kMostRanks, 2 + seed / 4 % 2);
  } else {
    form.both_directions = form.in_batch = seed % 4 == 1;
    form.other_anchors = !form.both_directions || seed % 8 == 1;
    set_towers(&form, std::max<int64_t>(form.rows, kMostRanks));
  }
  return form;
}

Inputs inputs_that_travel(uint32_t seed) {
  const Form form = form_that_travels(seed);
  INFO(describe(form));
  Inputs inputs = inputs_of(form);
  constexpr int32_t kRowLosses[] = {INFONCE_ROW_LOSS_CROSS_ENTROPY, INFONCE_ROW_LOSS_DECOUPLED,
                                    INFONCE_ROW_LOSS_POSITIVE_AND_NEGATIVES, INFONCE_ROW_LOSS_MEAN_INSIDE};
  const bool all_have_candidates = form.one_tower() && form.ids == 0;
  for (infonce_softmax &softmax : inputs.problem.softmaxes) {
    softmax.row_loss = all_have_candidates ? kRowLosses[seed / 4 % 4] : INFONCE_ROW_LOSS_CROSS_ENTROPY;
    softmax.tau_plus = softmax.mises_fisher_sigma = 0;
  }
  for (infonce_block &block : inputs.problem.blocks) {
    if (block.left_out & INFONCE_LEAVE_OUT_SAME_ID_POSITIVE) {
      block.left_out ^= INFONCE_LEAVE_OUT_SAME_ID_POSITIVE | INFONCE_LEAVE_OUT_SAME_ID;
    }
  }
  return inputs;
}

Contexts best_contexts() { return {instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 2}; }

Inputs inputs_of_loss(Loss loss, int64_t rows, double temperature, infonce_reduction reduction) {
  Settings settings;
  settings.loss = loss;
  settings.rows = rows;
  settings.dim = 24;
  settings.temperature = temperature;
  settings.reduction = reduction;
  settings.grad_output_count = reduction == INFONCE_REDUCTION_NONE ? rows : 1;
  return Case(settings);
}

// Where a device is simulated few of either kind.
std::vector<uint32_t> seeds_of_forms() {
  if (on_simulator()) {
    return {6000, 6002, 6017, 6019};
  }
  std::vector<uint32_t> seeds(48);
  std::iota(seeds.begin(), seeds.end(), 6000);
  return seeds;
}

}  // namespace

TEST_CASE("random forms over 2 to 4 ranks match the reference") {
  for (const auto precision : {INFONCE_PRECISION_HIGHEST, INFONCE_PRECISION_HIGH, INFONCE_PRECISION_MEDIUM}) {
    if (on_simulator() && precision == INFONCE_PRECISION_HIGH) {
      continue;
    }
    for (const std::string &set : instruction_sets()) {
      CAPTURE(set);
      CAPTURE(precision);
      const Contexts contexts(set, precision, 1);
      int computed = 0;
      for (const uint32_t seed : seeds_of_forms()) {
        const Inputs whole = inputs_that_travel(seed);
        INFO(describe(form_that_travels(seed)));
        if (backend().why_no_parts(&whole.problem)) {
          continue;
        }
        ++computed;
        const int size = 2 + static_cast<int>(seed % 3);
        const Expectation expected(whole, precision, reference(whole));
        expected.check(run_travelling(contexts.all(), whole, random_shares(whole, size, seed)));
        if (precision == INFONCE_PRECISION_HIGHEST) {
          expected.check(run_travelling(contexts.all(), whole, even_shares(whole, size), 13));
        }
      }
      CHECK(computed >= 3);
    }
  }
}

TEST_CASE("positives by id are wherever they are") {
  for (const std::string &set : instruction_sets()) {
    for (const auto precision : {INFONCE_PRECISION_HIGHEST, INFONCE_PRECISION_MEDIUM}) {
      if (on_simulator() && precision != INFONCE_PRECISION_HIGHEST) continue;
      CAPTURE(set);
      CAPTURE(precision);
      const Contexts contexts(set, precision, 1);
      for (const Classes classes : {Classes::kPairs, Classes::kOne, Classes::kMixed}) {
        for (const double temperature : {0.5, 0.1, 0.01}) {
          if (on_simulator() && (classes != Classes::kMixed || temperature != 0.1)) continue;
          Settings settings;
          settings.loss = Loss::kSupCon;
          settings.rows = on_simulator() ? 41 : 131;
          settings.dim = on_simulator() ? 12 : 64;
          settings.classes = classes;
          settings.temperature = temperature;
          settings.ranks = false;
          settings.reduction = temperature == 0.1 ? INFONCE_REDUCTION_NONE : INFONCE_REDUCTION_MEAN;
          settings.grad_output_count = temperature == 0.1 ? settings.rows : 1;
          INFO(describe(settings));
          const Inputs whole = Case(settings);
          const Expectation expected(whole, precision, reference(whole));
          const int64_t first = settings.rows / 2 + 5, rest = settings.rows - first - 1;
          expected.check(
              run_travelling(contexts.all(), whole, {{0, first}, {first, 1}, {first + 1, 0}, {first + 1, rest}}));
          if (on_simulator()) continue;
          expected.check(run_travelling(contexts.all(), whole, even_shares(whole, 3), 17));
        }
      }
    }
  }
}

TEST_CASE("shares of many tiles match the reference" * doctest::skip(on_simulator())) {
  const Contexts contexts = best_contexts();
  for (const Loss loss : {Loss::kClip, Loss::kNtXentFirst}) {
    for (const double temperature : {0.1, 0.01}) {
      Settings settings;
      settings.loss = loss;
      settings.rows = 2600;
      settings.dim = 5;
      settings.temperature = temperature;
      INFO(describe(settings));
      const Inputs whole = Case(settings);
      const std::vector<Share> shares = {{0, 1250}, {1250, 50}, {1300, loss == Loss::kClip ? 1300 : 0}};
      Expectation(whole, INFONCE_PRECISION_HIGHEST, reference(whole))
          .check(run_travelling(contexts.all(), whole, shares));
    }
  }
}

TEST_CASE("the same parts in the same order give the same bits, from any number of threads") {
  for (const std::string &set : instruction_sets()) {
    for (const auto precision : {INFONCE_PRECISION_HIGHEST, INFONCE_PRECISION_MEDIUM}) {
      CAPTURE(set);
      CAPTURE(precision);
      const Contexts two(set, precision, 2), one(set, precision, 1), four(set, precision, 4);
      for (uint32_t seed = 6100; seed < (on_simulator() ? 6101 : 6108); ++seed) {
        const Inputs whole = inputs_that_travel(seed);
        INFO(describe(form_that_travels(seed)));
        if (backend().why_no_parts(&whole.problem)) {
          continue;
        }
        const std::vector<Share> shares = random_shares(whole, 3, seed);
        const Output expected = run_travelling(two.all(), whole, shares, 40);
        CHECK(identical(run_travelling(one.all(), whole, shares, 40), expected));
        CHECK(identical(run_travelling(four.all(), whole, shares, 40), expected));
      }
    }
  }
}

TEST_CASE("a rank alone, and ranks of which one has all rows, give the bits of an opened call") {
  const Contexts contexts = best_contexts();
  for (const Loss loss : {Loss::kClip, Loss::kNtXentAll}) {
    const Inputs whole = inputs_of_loss(loss, 130, 0.1, INFONCE_REDUCTION_SUM);
    const int64_t samples = loss == Loss::kClip ? 130 : 65;
    const Output alone = run_travelling(contexts.all(), whole, {{0, samples}});
    CHECK(identical(run_travelling(contexts.all(), whole, {{0, 0}, {0, samples}, {samples, 0}}), alone));
  }
}

TEST_CASE("upstream gradients of a rank may all be 0") {
  const Contexts contexts = best_contexts();
  for (const Loss loss : {Loss::kClip, Loss::kNtXentFirst}) {
    for (const double temperature : {0.1, 0.005}) {
      const Inputs whole = inputs_of_loss(loss, 150, temperature, INFONCE_REDUCTION_NONE);
      const int64_t samples = loss == Loss::kClip ? 150 : 75;
      for (int64_t view = 0; view < 150 / samples; ++view) {
        std::fill_n(whole.grad_output.data() + view * samples, 50, 0.0F);
      }
      const Output got = run_travelling(contexts.all(), whole, {{0, 50}, {50, samples - 50}});
      Expectation(whole, INFONCE_PRECISION_HIGHEST, reference(whole)).check(got);
    }
  }
  const Inputs whole = inputs_of_loss(Loss::kClip, 30, 0.1, INFONCE_REDUCTION_MEAN);
  whole.grad_output[0] = 0;
  const Output got = run_travelling(contexts.all(), whole, {{0, 10}, {10, 20}});
  CHECK(got.result.scalars.grad_scale == 0);
  for (const auto &gradient : got.gradients) {
    CHECK(all_zero(gradient));
  }
}

TEST_CASE("one sample each: all candidates of decoupled losses are elsewhere") {
  const Contexts contexts = best_contexts();
  Inputs whole = inputs_of_loss(Loss::kNtXentFirst, 8, 0.1, INFONCE_REDUCTION_NONE);
  whole.problem.softmaxes[0].row_loss = INFONCE_ROW_LOSS_DECOUPLED;
  const Output got = run_travelling(contexts.all(), whole, {{0, 1}, {1, 1}, {2, 1}, {3, 1}});
  Expectation(whole, INFONCE_PRECISION_HIGHEST, reference(whole)).check(got);
}

}  // namespace infonce::test

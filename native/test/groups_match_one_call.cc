// A loss over the ranks of a group is that of all their rows in one call.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "test/agreement.h"
#include "test/context.h"
#include "test/engines.h"
#include "test/forms.h"
#include "common/form.h"
#include "group/form_over_ranks.h"
#include "test/backend.h"
#include "test/group.h"
#include "test/sigmoid.h"

namespace infonce::test {

namespace {

constexpr int kMostRanks = 5;

using Contexts = ContextsOfRanks<kMostRanks>;

// Of two towers by index, with further candidates.
Form over_ranks(Form form) {
  const bool by_target = form.positive == INFONCE_POSITIVE_TARGET;
  const int64_t keys = form.keys;
  form.both_directions = form.other_anchors = false;
  set_towers(&form, std::max<int64_t>(form.rows, kMostRanks));
  if (by_target) form.positive = INFONCE_POSITIVE_TARGET, form.keys = keys;
  return form;
}
Form form_over_ranks(uint32_t seed) { return over_ranks(form_to_share(random_form(seed))); }

// ||got - expected|| / ||expected||
double error(const Buffer<float> &got, const Buffer<float> &expected) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    difference += std::pow(double(got[i]) - double(expected[i]), 2);
    size += std::pow(double(expected[i]), 2);
  }
  return std::sqrt(difference / size);
}

// All of a list, or where a device is simulated some.
template <class Value> std::vector<Value> effort(std::vector<Value> all, std::vector<Value> some) {
  return on_simulator() ? some : all;
}

// Where a device is simulated the first one alone.
std::vector<infonce_precision> precisions() {
  return effort<infonce_precision>({INFONCE_PRECISION_HIGHEST, INFONCE_PRECISION_MEDIUM}, {INFONCE_PRECISION_HIGHEST});
}

// Those from the first one on; where a device is simulated some of them.
std::vector<uint32_t> seeds_from(uint32_t first, uint32_t count, std::vector<uint32_t> few) {
  if (on_simulator()) return few;
  std::vector<uint32_t> all(simulated() ? 3 : count);
  std::iota(all.begin(), all.end(), first);
  return all;
}

}  // namespace

TEST_CASE("random forms over 1 to 5 ranks match the reference") {
  for (const std::string &set : instruction_sets()) {
    for (const auto precision : {INFONCE_PRECISION_HIGHEST, INFONCE_PRECISION_MEDIUM}) {
      CAPTURE(set);
      CAPTURE(precision);
      const Contexts contexts(set, precision, 1);
      for (const uint32_t seed : seeds_from(5000, 40, {5001, 5002})) {
        const Form form = form_over_ranks(seed);
        INFO(describe(form));
        const Inputs whole = inputs_of(form);
        const Expectation expected(whole, precision);
        const int size = 1 + int(seed % 5);
        expected.check(run_on_ranks(contexts.of(size), whole, random_shares(whole, size, seed)));
        if (on_simulator()) continue;
        expected.check(run_on_ranks(contexts.of(size), whole, even_shares(whole, size)));
      }
    }
  }
}

TEST_CASE("thresholds over ranks match the reference") {
  for (const auto precision : precisions()) {
    const Contexts contexts(instruction_sets().front(), precision, 1);
    for (const uint32_t seed : seeds_from(5200, 30, {5201, 5202})) {
      const bool by_guide = seed % 2 == 0;
      if (!by_guide && precision != INFONCE_PRECISION_HIGHEST) continue;
      const Form form = over_ranks(form_to_share(random_form_with_threshold(seed, by_guide)));
      INFO(describe(form));
      const Inputs whole = inputs_of(form);
      const int size = 1 + int(seed % 5);
      Expectation(whole, precision).check(run_on_ranks(contexts.of(size), whole, random_shares(whole, size, seed)));
    }
  }
}

TEST_CASE("the same ranks give the same bits, with any number of threads") {
  const Form form = form_over_ranks(5001);
  const Inputs whole = inputs_of(form);
  const std::vector<Share> shares = random_shares(whole, 3, 1);
  const std::string set = instruction_sets().front();
  const Output expected = run_on_ranks(Contexts(set, INFONCE_PRECISION_HIGHEST, 1).of(3), whole, shares);
  for (const int threads : effort<int>({1, 4}, {1}))
    CHECK(identical(run_on_ranks(Contexts(set, INFONCE_PRECISION_HIGHEST, threads).of(3), whole, shares), expected));
}

// Of one tower by view, or of two with both directions.
Form form_with_columns(uint32_t seed) {
  Form form = form_to_share(random_form(seed));
  const bool one_tower = seed % 2 == 0;
  form.both_directions = !one_tower;
  form.in_batch = true;
  form.other_anchors = false;
  form.threshold = INFONCE_THRESHOLD_NONE;
  if (one_tower) form.own = 0;
  const int64_t views = one_tower ? 2 + int64_t(seed / 4 % 2) : 1, samples = form.rows / views + kMostRanks;
  if (one_tower)
    set_one_tower(&form, seed % 4 ? INFONCE_POSITIVE_FIRST_VIEW : INFONCE_POSITIVE_ALL_VIEWS, samples, views);
  else set_towers(&form, samples);
  return form;
}

TEST_CASE("random forms with columns over 1 to 5 ranks match the reference") {
  for (const std::string &set : instruction_sets()) {
    for (const auto precision : {INFONCE_PRECISION_HIGHEST, INFONCE_PRECISION_MEDIUM}) {
      CAPTURE(set);
      CAPTURE(precision);
      int computed = 0;
      const Contexts contexts(set, precision, 1);
      for (const uint32_t seed : seeds_from(6000, 40, {6002, 6006, 6017})) {
        const Form form = form_with_columns(seed);
        INFO(describe(form));
        const Inputs whole = inputs_of(form);
        if (group::what_is_wrong_over_ranks(whole.problem, Output(whole).result)) continue;
        if (backend().why_no_parts(&whole.problem)) continue;
        ++computed;
        const Expectation expected(whole, precision);
        const int size = 1 + int(seed % 5);
        expected.check(run_on_ranks(contexts.of(size), whole, random_shares(whole, size, seed)));
        if (on_simulator()) continue;
        expected.check(run_on_ranks(contexts.of(size), whole, even_shares(whole, size)));
      }
      CHECK(computed >= (simulated() ? 1 : 20));
    }
  }
}

// Several directions in one denominator, or hardness in those of the queries alone.
Form form_of_joined_sides(uint32_t seed) {
  Form form = random_form(8 * seed);
  form.rows = std::max<int64_t>(form.rows, 5);
  form.keys = form.rows;
  form.in_batch = true;
  form.bias = false;
  form.label_smoothing = 0;
  if (seed / 2 % 2 == 1) form.ids = 0;  // they would be further positives
  form.both_directions = seed % 4 == 3;
  form.joint = seed % 2 == 0;
  form.keys_apart = seed % 5 == 0;
  form.other_keys = seed / 2 % 2 == 0 && !form.both_directions;
  form.other_anchors = seed / 4 % 2 == 0 && !form.both_directions;
  if (form.own > 0 && !form.among) form.own = 0;
  if (form.further.empty() || seed % 3 == 0) form.further = {form.rows * (1 + seed % 2)};
  for (int64_t &rows : form.further) rows = form.further[0];
  form.keys_to_further = seed / 8 % 2 == 0 || !(form.joint || form.keys_apart || form.other_keys);
  if (form.grad_output_count > 1) form.grad_output_count = form.rows;
  return form;
}

TEST_CASE("joined sides over 1 to 5 ranks match the reference") {
  for (const std::string &set : instruction_sets()) {
    for (const auto precision : precisions()) {
      CAPTURE(set);
      CAPTURE(precision);
      const Contexts contexts(set, precision, 1);
      for (const uint32_t seed : seeds_from(700, 32, {708, 711, 726})) {
        const Form form = form_of_joined_sides(seed);
        INFO(describe(form));
        const Inputs whole = inputs_of(form);
        const Expectation expected(whole, precision);
        const int size = 1 + int(seed / 3 % 5);
        expected.check(run_on_ranks(contexts.of(size), whole, random_shares(whole, size, seed)));
        if (on_simulator()) continue;
        expected.check(run_on_ranks(contexts.of(size), whole, even_shares(whole, size)));
      }
    }
  }
}

// Halfway round an even ring a rank's rows are cut where backends cut them.
TEST_CASE("views of many rows over an even number of ranks match the reference" * doctest::skip(simulated())) {
  for (const int64_t rows : {1100, 1300}) {
    for (const double temperature : {0.5, 0.01}) {
      Form form;
      form.positive = INFONCE_POSITIVE_ALL_VIEWS;
      form.views = 2;
      form.rows = rows;
      form.dim = 7;
      form.temperature = temperature;
      const Inputs whole = inputs_of(form);
      const Contexts contexts(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 2);
      for (const int size : {2, 4})
        Expectation(whole, INFONCE_PRECISION_HIGHEST)
            .check(run_on_ranks(contexts.of(size), whole, random_shares(whole, size, 1)));
    }
  }
}

TEST_CASE("positives by label over ranks match the reference") {
  for (const auto precision : precisions()) {
    const Contexts contexts(instruction_sets().front(), precision, 1);
    for (const Classes classes :
         effort<Classes>({Classes::kPairs, Classes::kOne, Classes::kMixed}, {Classes::kMixed})) {
      for (const double temperature : effort<double>({0.1, 0.005}, {0.1})) {
        for (const auto row_loss : {INFONCE_ROW_LOSS_CROSS_ENTROPY, INFONCE_ROW_LOSS_DECOUPLED,
                                    INFONCE_ROW_LOSS_POSITIVE_AND_NEGATIVES, INFONCE_ROW_LOSS_MEAN_INSIDE}) {
          if (classes == Classes::kOne && row_loss == INFONCE_ROW_LOSS_DECOUPLED) continue;
          Settings settings;
          settings.loss = Loss::kSupCon;
          settings.rows = on_simulator() ? 40 : 140;
          settings.dim = on_simulator() ? 10 : 64;
          settings.classes = classes;
          settings.temperature = temperature;
          settings.reduction = classes == Classes::kMixed ? INFONCE_REDUCTION_NONE : INFONCE_REDUCTION_MEAN;
          INFO(describe(settings), " row loss ", row_loss);
          Inputs whole = Case(settings);
          whole.problem.softmaxes[0].row_loss = row_loss;
          const Expectation expected(whole, precision);
          for (const int size : effort<int>({2, 4, 5}, {4}))
            expected.check(run_on_ranks(contexts.of(size), whole, random_shares(whole, size, uint32_t(size + 1))));
        }
      }
    }
  }
}

// Classes of which parts have few pairs and many, and memories of another type, which some ranks do not have. Small ones
// travel, larger ones stay.
TEST_CASE("memories over ranks match the reference") {
  for (const auto precision : precisions()) {
    const Contexts contexts(instruction_sets().front(), precision, 1);
    for (const uint32_t seed : seeds_from(0, 48, {0, 1, 2, 3})) {
      Form form;
      form.seed = seed;
      form.positive = INFONCE_POSITIVE_SAME_ID;
      form.rows = 20 + (on_simulator() ? 7 : 37) * int64_t(seed % 5);
      form.memory = seed / (on_simulator() ? 2 : 4) % 2 == 1 ? 9 : on_simulator() ? 60 : 150;
      form.dim = 24;
      form.halves = seed % 3 == 1;
      form.temperature = seed % 7 == 6 ? 0.005 : 0.1;
      form.label_smoothing = seed % 8 == 0 ? 0.2 : 0;
      form.reduction = seed % 2 == 0 ? INFONCE_REDUCTION_MEAN : INFONCE_REDUCTION_NONE;
      form.grad_output_count = seed % 2 == 0 ? 1 : form.rows;
      constexpr infonce_row_loss kLosses[] = {INFONCE_ROW_LOSS_CROSS_ENTROPY, INFONCE_ROW_LOSS_DECOUPLED,
                                              INFONCE_ROW_LOSS_POSITIVE_AND_NEGATIVES, INFONCE_ROW_LOSS_MEAN_INSIDE};
      Inputs of_loss = inputs_of(form);
      of_loss.problem.softmaxes[0].row_loss = kLosses[seed % 4];
      for (int m = 0; m < 2; ++m)
        for (size_t row = 0; row < of_loss.ids[m].size(); ++row)
          of_loss.ids[m].data()[row] = int32_t(row * 7 % (seed % 3 == 0 ? 2 : 40));
      INFO(describe(form), " row loss ", of_loss.problem.softmaxes[0].row_loss);
      const Expectation expected(of_loss, precision);
      const int size = 2 + int(seed / 8 % 4);
      expected.check(run_on_ranks(contexts.of(size), of_loss, random_shares(of_loss, size, seed)));
      expected.check(
          run_on_ranks(contexts.of(size), of_loss, even_shares(of_loss, size), group::Gradients::kSum, true));
    }
  }
}

// Their pairs are summed up, unless the rows of a class lie too close together for float32.
TEST_CASE("few classes over ranks match the reference" * doctest::skip(!on_cpu())) {
  for (const std::string &set : instruction_sets()) {
    for (const auto precision : {INFONCE_PRECISION_HIGHEST, INFONCE_PRECISION_MEDIUM}) {
      const Contexts contexts(set, precision, 1);
      for (const int32_t classes : {2, 5, 30}) {
        for (const bool are_tight : {false, true}) {
          for (const auto row_loss : {INFONCE_ROW_LOSS_CROSS_ENTROPY, INFONCE_ROW_LOSS_DECOUPLED}) {
            Settings settings;
            settings.loss = Loss::kSupCon;
            settings.rows = 260;
            settings.dim = 20;
            settings.temperature = 0.2;
            Inputs whole = Case(settings);
            whole.problem.softmaxes[0].row_loss = row_loss;
            if (are_tight) whole.problem.ranks = 0;  // float32 does not tell their rows' order
            for (int64_t row = 0; row < settings.rows; ++row) {
              whole.ids[0][size_t(row)] = int32_t(row * row % 7919 % classes);
              float *const numbers = whole.matrices[0].data() + row * settings.dim;
              if (are_tight && whole.ids[0][size_t(row)] == 1)
                for (int64_t d = 0; d < settings.dim; ++d)
                  numbers[d] = whole.matrices[0][size_t(d)] + 1e-2f * numbers[d];
            }
            INFO(set, " ", precision, " ", classes, " classes, ", are_tight, " row loss ", row_loss);
            const Expectation expected(whole, precision);
            for (const int size : {1, 2, 3})
              expected.check(run_on_ranks(contexts.of(size), whole, random_shares(whole, size, uint32_t(size + 1))));
          }
        }
      }
    }
  }
}

// Their rows are fetched as they are.
TEST_CASE("first positives of half precision are found on other ranks") {
  const Contexts contexts(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 1);
  for (const uint32_t seed : seeds_from(0, 6, {2})) {
    Form form;
    form.seed = seed;
    form.positive = INFONCE_POSITIVE_SAME_ID;
    form.rows = 30 + seed;
    form.dim = 9;
    form.halves = true;
    form.normalize = seed % 2 == 0;
    const Inputs whole = inputs_of(form);
    for (const int size : effort<int>({2, 3, 5}, {3}))
      Expectation(whole, INFONCE_PRECISION_HIGHEST)
          .check(run_on_ranks(contexts.of(size), whole, random_shares(whole, size, seed)));
  }
}

TEST_CASE("positives by label give the same bits with any number of threads, and in two passes") {
  const std::string set = instruction_sets().front();
  for (const auto row_loss :
       effort<infonce_row_loss>({INFONCE_ROW_LOSS_CROSS_ENTROPY, INFONCE_ROW_LOSS_POSITIVE_AND_NEGATIVES},
                                {INFONCE_ROW_LOSS_POSITIVE_AND_NEGATIVES})) {
    Settings settings;
    settings.loss = Loss::kSupCon;
    settings.rows = on_simulator() ? 40 : 150;
    settings.dim = on_simulator() ? 7 : 40;
    settings.classes = Classes::kMixed;
    Inputs whole = Case(settings);
    whole.problem.softmaxes[0].row_loss = row_loss;
    const std::vector<Share> shares = random_shares(whole, 4, 3);
    const Contexts one(set, INFONCE_PRECISION_HIGHEST, 1), four(set, INFONCE_PRECISION_HIGHEST, 4);
    const Output expected = run_on_ranks(one.of(4), whole, shares);
    if (!on_simulator()) CHECK(identical(run_on_ranks(four.of(4), whole, shares), expected));
    CHECK(identical(run_on_ranks(four.of(4), whole, shares, group::Gradients::kSum, true), expected));
  }
}

// Ties are not above, wherever they are: rows of one rank, all equal except one.
TEST_CASE("equal rows on several ranks do not outrank each other") {
  Settings settings;
  settings.loss = Loss::kSupCon;
  settings.rows = 40;
  settings.dim = 33;
  const Inputs whole = Case(settings);
  for (int64_t row = 0; row < 40; ++row) {
    whole.ids[0][size_t(row)] = int32_t(row % 3);
    if (row > 0 && row % 4 != 3) std::copy_n(whole.matrices[0].data(), 33, whole.matrices[0].data() + row * 33);
  }
  for (const auto precision : precisions()) {
    const Contexts contexts(instruction_sets().front(), precision, 1);
    const Output one = run_with_rows(*contexts.of(1)[0], whole);
    for (const int size : effort<int>({2, 3, 5}, {3})) {
      const Output got = run_on_ranks(contexts.of(size), whole, random_shares(whole, size, uint32_t(size)));
      CHECK(got.result.scalars.top1 == one.result.scalars.top1);
      for (size_t row = 0; row < 40; ++row) CHECK(got.above[0][row] == one.above[0][row]);
    }
  }
}

TEST_CASE("all ranks refuse rows without a negative") {
  Settings settings;
  settings.loss = Loss::kSupCon;
  settings.rows = 6;
  settings.dim = 3;
  settings.classes = Classes::kOne;
  Inputs labels = Case(settings);
  settings.loss = Loss::kNtXentFirst;
  settings.rows = 2;
  Inputs views = Case(settings);
  const auto check = [](Inputs &whole, const std::vector<Share> &shares, const std::string &message) {
    whole.problem.softmaxes[0].row_loss = INFONCE_ROW_LOSS_DECOUPLED;
    const Contexts contexts(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 1);
    on_ranks(int(shares.size()), [&](group::Group &group) {
      const auto rank = size_t(group.transport().rank());
      const Inputs inputs = inputs_of(whole, shares[rank]);
      Output output(inputs);
      infonce_failure failure = empty_failure();
      const infonce_status status = group.run(group.take_turn(), backend(), contexts.of(3)[rank]->handle(),
                                              inputs.problem, group::Gradients::kSum, &output.result, &failure);
      CHECK(status == INFONCE_INVALID_ARGUMENT);
      CHECK(failure.message == message);
    });
  };
  check(labels, {{0, 2}, {2, 0}, {2, 4}}, "the rows of all ranks are of one class, and none has a negative");
  check(views, {{0, 0}, {0, 1}}, "all ranks have one sample together, and no row has a negative");
}

// Rows of equal id beside the positives by index, in one direction or both, or by target, with further candidates.
TEST_CASE("further positives over ranks match the reference") {
  for (const auto precision : precisions()) {
    const Contexts contexts(instruction_sets().front(), precision, 1);
    int computed = 0;
    for (const uint32_t seed : effort<uint32_t>(seeds_from(0, 24, {}), {1, 9})) {
      const uint32_t of_form = seed / 8 * 96 + 48 + seed % 8;  // that has further positives
      enum class Kind { kOneDirection, kBothDirections, kByTarget };
      for (const Kind kind : {Kind::kOneDirection, Kind::kBothDirections, Kind::kByTarget}) {
        Form form = form_over_ranks(of_form);
        set_towers(&form, form.rows);
        if (kind == Kind::kByTarget) form.positive = INFONCE_POSITIVE_TARGET, form.keys = form.rows + 7;
        form.own = 0;
        form.stretch = form.label_smoothing = 0;
        form.ids = seed % 3 == 0 ? 3 : int32_t(form.rows / 2 + 2);
        form.both_directions = kind == Kind::kBothDirections;
        form.in_batch |= kind != Kind::kOneDirection;
        INFO(describe(form));
        const Inputs whole = inputs_of(form);
        computed += has_further_positives(whole.problem);
        const Expectation expected(whole, precision);
        const int size = 2 + int(seed % 4);
        expected.check(run_on_ranks(contexts.of(size), whole, random_shares(whole, size, seed)));
        if (seed % 4 == 0) expected.check(run_on_ranks(contexts.of(size), whole, even_shares(whole, size)));
      }
    }
    CHECK(computed > (simulated() ? 1 : 20));
  }
}

TEST_CASE("the sigmoid loss over ranks is that of one call") {
  std::mt19937 random(7);
  const Contexts contexts(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 1);
  for (const auto positive : {INFONCE_POSITIVE_SAME_INDEX, INFONCE_POSITIVE_SAME_ID_ELSEWHERE, INFONCE_POSITIVE_NONE}) {
    const bool by_index = positive == INFONCE_POSITIVE_SAME_INDEX;
    for (const auto reduction :
         effort<infonce_reduction>({INFONCE_REDUCTION_MEAN, INFONCE_REDUCTION_NONE},
                                   {by_index ? INFONCE_REDUCTION_NONE : INFONCE_REDUCTION_MEAN})) {
      for (const int size : effort<int>({2, 3, 5}, {3})) {
        const int64_t rows = simulated() ? 9 : 150;
        const Sigmoid whole(random, positive, rows, rows, 12, -10, reduction);
        const Output expected = run(*contexts.of(1)[0], whole);
        const Output got = run_on_ranks(contexts.of(size), whole, random_shares(whole, size, uint32_t(size)));
        CHECK(got.result.scalars.loss == doctest::Approx(expected.result.scalars.loss).epsilon(1e-6));
        CHECK(got.result.scalars.grad_scale == doctest::Approx(expected.result.scalars.grad_scale).epsilon(1e-5));
        CHECK(got.result.scalars.grad_bias == doctest::Approx(expected.result.scalars.grad_bias).epsilon(1e-5));
        for (int m = 0; m < 2; ++m) CHECK(error(got.gradients[m], expected.gradients[m]) < 2e-6);
        if (reduction == INFONCE_REDUCTION_NONE) CHECK(error(got.row_loss, expected.row_loss) < 1e-6);
        if (whole.problem.ranks) {
          CHECK(got.result.scalars.top1 == doctest::Approx(expected.result.scalars.top1));
          CHECK(got.result.scalars.top5 == doctest::Approx(expected.result.scalars.top5));
        }
      }
    }
  }
}

TEST_CASE("a call in two passes gives the bits of one") {
  const Contexts contexts(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 1);
  for (const uint32_t seed : seeds_from(5100, 16, {5100})) {
    const Form form = form_over_ranks(seed);
    INFO(describe(form));
    const Inputs whole = inputs_of(form);
    const int size = 2 + int(seed % 3);
    const std::vector<Share> shares = random_shares(whole, size, seed);
    for (const auto gradients :
         effort<group::Gradients>({group::Gradients::kSum, group::Gradients::kMean}, {group::Gradients::kMean})) {
      const Output expected = run_on_ranks(contexts.of(size), whole, shares, gradients);
      CHECK(identical(run_on_ranks(contexts.of(size), whole, shares, gradients, true), expected));
    }
  }
}

TEST_CASE("candidates that anchors have of their own stay at home") {
  Form form = form_over_ranks(5003);
  form.in_batch = false;
  form.further.clear();
  form.own = 7;
  form.among = form.bias = false;
  form.ids = 0;
  form.stretch = 0;
  INFO(describe(form));
  const Inputs whole = inputs_of(form);
  const Contexts contexts(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 1);
  Expectation(whole, INFONCE_PRECISION_HIGHEST).check(run_on_ranks(contexts.of(3), whole, even_shares(whole, 3)));
}

TEST_CASE("gradients for those who average are the size times as large") {
  const Form form = form_over_ranks(5002);
  const Inputs whole = inputs_of(form);
  const std::vector<Share> shares = even_shares(whole, 3);
  const Contexts contexts(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 1);
  const Output sum = run_on_ranks(contexts.of(3), whole, shares, group::Gradients::kSum);
  const Output mean = run_on_ranks(contexts.of(3), whole, shares, group::Gradients::kMean);
  for (int m = 0; m < whole.problem.matrix_count; ++m)
    for (size_t i = 0; i < sum.gradients[m].size(); ++i)
      REQUIRE(mean.gradients[m].data()[i] == 3 * sum.gradients[m].data()[i]);
  CHECK(mean.result.scalars.grad_scale == doctest::Approx(sum.result.scalars.grad_scale).epsilon(1e-14));
}

}  // namespace infonce::test

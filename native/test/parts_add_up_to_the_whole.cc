// A call whose candidates come part by part gives what the whole gives.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "test/agreement.h"
#include "test/context.h"
#include "test/engines.h"
#include "test/forms.h"
#include "test/parts.h"

namespace infonce::test {

namespace {

void check_parts(const std::vector<Engine> &engines, const Inputs &whole, const std::vector<Split> &splits) {
  const Reference exact = reference(whole);
  std::map<infonce_precision, Expectation> expected;
  for (const Engine &engine : engines) {
    CAPTURE(engine.name);
    for (const Split &split : splits) {
      const Output got = run_in_parts(*engine.context, whole, split);
      expected.try_emplace(engine.precision, whole, engine.precision, exact).first->second.check(got);
    }
  }
}

// With a matrix whose rows may come in parts.
Form random_form_in_parts(uint32_t seed) {
  Form form = random_form(seed);
  form.joint = form.keys_apart = form.other_keys = form.keys_to_further = false;
  if (form.further.empty()) {
    form.further = {static_cast<int64_t>(seed % 70) + 1};
  }
  return form;
}

std::vector<int> thread_counts_of_parts() { return on_cpu() ? std::vector<int>{1, 4} : std::vector<int>{1, 1}; }

Context make_context() { return {instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 2}; }

}  // namespace

TEST_CASE("random forms in random parts match the reference") {
  const std::vector<Engine> all = engines();
  for (uint32_t seed = 2000; seed < (simulated() ? 2008 : 2080); ++seed) {
    const Form form = random_form_in_parts(seed);
    INFO(describe(form));
    const Inputs whole = inputs_of(form);
    check_parts(all, whole, {in_random_parts(whole, seed)});
  }
}

TEST_CASE("parts leave out what is above a row's threshold") {
  const std::vector<Engine> all = engines();
  std::vector<Engine> exact = engines();
  const auto rounds = [](const Engine &engine) { return engine.precision != INFONCE_PRECISION_HIGHEST; };
  exact.erase(std::remove_if(exact.begin(), exact.end(), rounds), exact.end());
  for (uint32_t seed = 2100; seed < (on_simulator() ? 2102 : 2140); ++seed) {
    const bool by_guide = seed % 2 == 0;
    Form form = random_form_with_threshold(seed, by_guide);
    if (form.further.empty()) {
      form.further = {static_cast<int64_t>(seed % 70) + 1};
    }
    INFO(describe(form));
    const Inputs whole = inputs_of(form);
    check_parts(by_guide ? all : exact, whole, {in_random_parts(whole, seed)});
  }
}

TEST_CASE("one part, several and none match the reference at every temperature") {
  const std::vector<Engine> all = engines_for_rules();
  for (const bool one_tower : {true, false}) {
    for (const bool bias : {true, false}) {
      for (const double temperature : {0.5, 0.07, 0.01, 0.001}) {
        if (simulated() && bias != (temperature < 0.05)) continue;  // of both, with and without a bias
        Form form = form_in_parts(one_tower);
        form.bias = bias;
        form.temperature = temperature;
        INFO(describe(form));
        const Inputs whole = inputs_of(form);
        check_parts(all, whole, {in_one_part(whole), in_random_parts(whole, 1), all_opened(whole)});
      }
    }
  }
}

TEST_CASE("parts of many tiles match the reference" * doctest::skip(simulated())) {
  const std::vector<Engine> best = best_engines({INFONCE_PRECISION_HIGHEST, INFONCE_PRECISION_MEDIUM});
  for (const bool one_tower : {true, false}) {
    for (const bool bias : {true, false}) {
      Form form = form_in_parts(one_tower);
      form.rows = 2100;
      form.keys = one_tower ? 0 : 2200;
      form.further = {2300};
      form.dim = 5;
      form.ids = 300;
      form.bias = bias;
      form.grad_output_count = form.rows;
      form.temperature = one_tower == bias ? 0.5 : 0.01;
      INFO(describe(form));
      const Inputs whole = inputs_of(form);
      check_parts(best, whole, {in_one_part(whole), in_random_parts(whole, 2)});
    }
  }
}

TEST_CASE("the same parts give the same bits, from any number of threads") {
  for (const std::string &set : instruction_sets()) {
    for (const auto precision : {INFONCE_PRECISION_HIGHEST, INFONCE_PRECISION_MEDIUM}) {
      CAPTURE(set);
      CAPTURE(precision);
      for (uint32_t seed = 3000; seed < (simulated() ? 3003 : 3020); ++seed) {
        const Form form = random_form_in_parts(seed);
        INFO(describe(form));
        const Inputs whole = inputs_of(form);
        const Split split = in_random_parts(whole, seed);
        const Output expected = run_in_parts(Context(set, precision, 2), whole, split);
        for (const int threads : thread_counts_of_parts()) {
          const Context context(set, precision, threads);
          CHECK(identical(run_in_parts(context, whole, split), expected));
          CHECK(identical(run_in_parts(context, whole, split), expected));
        }
      }
    }
  }
}

TEST_CASE("gradients come as often as wanted, for any upstream gradient") {
  const Context context = make_context();
  for (const bool one_tower : {true, false}) {
    Form form = form_in_parts(one_tower);
    INFO(describe(form));
    Inputs whole = inputs_of(form);
    const Split split = in_random_parts(whole, 4);
    const Output expected = run_in_parts(context, whole, split);
    const OpenedCall call(context, whole, split);
    call.add_parts();
    Output first(whole);
    first.want_rows(whole);
    call.close(first);
    call.gradients(first);
    CHECK(identical(first, expected));

    // Twice as much: exact in binary.
    for (float &upstream : whole.grad_output) {
      upstream *= 2;
    }
    Output twice(whole);
    call.gradients(twice);
    for (int m = 0; m < whole.problem.matrix_count; ++m) {
      CHECK(std::equal(twice.gradients[m].begin(), twice.gradients[m].end(), first.gradients[m].begin(),
                       [](float a, float b) { return a == 2 * b; }));
    }
    for (float &upstream : whole.grad_output) {
      upstream /= 2;
    }
    // The context's memory is used for something else meanwhile.
    run(context, Case({Loss::kClip, 90, 33}));
    Output again(whole);
    call.gradients(again);
    CHECK(again.result.scalars.grad_scale == expected.result.scalars.grad_scale);
    for (int m = 0; m < whole.problem.matrix_count; ++m) {
      CHECK(std::equal(again.gradients[m].begin(), again.gradients[m].end(), expected.gradients[m].begin()));
    }
  }
}

TEST_CASE("calls that are open at the same time do not disturb each other") {
  const Context context = make_context();
  const Inputs first = inputs_of(form_in_parts(true)), second = inputs_of(form_in_parts(false));
  const Split of_first = in_random_parts(first, 5), of_second = in_random_parts(second, 6);
  const Output expected_first = run_in_parts(context, first, of_first);
  const Output expected_second = run_in_parts(context, second, of_second);
  const OpenedCall call_first(context, first, of_first), call_second(context, second, of_second);
  infonce_failure failure = empty_failure();
  for (size_t k = 0; k < std::max(of_first.parts.size(), of_second.parts.size()); ++k) {
    if (k < of_first.parts.size()) {
      CHECK(call_first.add(Part(first, of_first.parts[k]).part, failure) == INFONCE_OK);
    }
    if (k < of_second.parts.size()) {
      CHECK(call_second.add(Part(second, of_second.parts[k]).part, failure) == INFONCE_OK);
    }
    run(context, Case({Loss::kNtXentFirst, 90, 33}));
  }
  Output got_first(first), got_second(second);
  got_first.want_rows(first);
  got_second.want_rows(second);
  call_second.close(got_second);
  call_first.close(got_first);
  call_second.gradients(got_second);
  call_first.gradients(got_first);
  CHECK(identical(got_first, expected_first));
  CHECK(identical(got_second, expected_second));
}

TEST_CASE("a call without any candidates but the positives has losses of zero") {
  const Context context = make_context();
  Form form = form_in_parts(false);
  form.in_batch = false;
  form.further = {0};
  form.ids = 0;
  const Inputs whole = inputs_of(form);
  const Output got = run_in_parts(context, whole, in_one_part(whole));
  CHECK(got.result.scalars.loss == 0);
  CHECK(got.result.scalars.grad_scale == 0);
  CHECK(got.result.scalars.top1 == 1);
  for (const auto &gradient : got.gradients) {
    CHECK(all_zero(gradient));
  }
}

}  // namespace infonce::test

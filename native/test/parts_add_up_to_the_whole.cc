// A call whose candidates come part by part gives what the whole gives.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <utility>
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
Form form_of_parts(uint32_t seed) {
  Form form = random_form(seed);
  if (form.further.empty()) {
    form.further = {static_cast<int64_t>(seed % 70) + 1};
  }
  return form;
}

Form towers(bool one) {
  Form form;
  form.positive = one ? INFONCE_POSITIVE_ALL_VIEWS : INFONCE_POSITIVE_TARGET;
  form.views = one ? 2 : 1;
  form.rows = 66;
  form.keys = one ? 0 : 130;
  form.further = {100};
  form.dim = 64;
  form.ids = 40;
  form.bias = true;
  form.reduction = INFONCE_REDUCTION_NONE;
  form.grad_output_count = form.rows;
  return form;
}

// The block of the only further matrix.
int block_of_further(const infonce_problem &problem) {
  for (int b = 0; b < problem.block_count; ++b) {
    if (is_candidate_alone(problem, problem.blocks[b].candidates)) {
      return b;
    }
  }
  return -1;
}

int matrix_of_further(const infonce_problem &problem) { return problem.blocks[block_of_further(problem)].candidates; }

std::vector<int> thread_counts_of_parts() { return on_cpu() ? std::vector<int>{1, 4} : std::vector<int>{1, 1}; }

Context make_context() { return {instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 2}; }

}  // namespace

TEST_CASE("random forms in random parts match the reference") {
  const std::vector<Engine> all = engines();
  for (uint32_t seed = 2000; seed < (simulated() ? 2008 : 2080); ++seed) {
    const Form form = form_of_parts(seed);
    INFO(describe(form));
    const Inputs whole = inputs_of(form);
    check_parts(all, whole, {in_random_parts(whole, seed)});
  }
}

TEST_CASE("one part, several and none match the reference at every temperature") {
  const std::vector<Engine> all = engines_for_rules();
  for (const bool one_tower : {true, false}) {
    for (const bool bias : {true, false}) {
      for (const double temperature : {0.5, 0.07, 0.01, 0.001}) {
        Form form = towers(one_tower);
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
  std::vector<Engine> fastest;
  for (const auto precision : {INFONCE_PRECISION_HIGHEST, INFONCE_PRECISION_MEDIUM}) {
    fastest.push_back({"best", precision, std::make_unique<Context>(instruction_sets().front(), precision, 2)});
  }
  for (const bool one_tower : {true, false}) {
    for (const bool bias : {true, false}) {
      Form form = towers(one_tower);
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
      check_parts(fastest, whole, {in_one_part(whole), in_random_parts(whole, 2)});
    }
  }
}

TEST_CASE("the same parts give the same bits, from any number of threads") {
  for (const std::string &set : instruction_sets()) {
    for (const auto precision : {INFONCE_PRECISION_HIGHEST, INFONCE_PRECISION_MEDIUM}) {
      CAPTURE(set);
      CAPTURE(precision);
      for (uint32_t seed = 3000; seed < (simulated() ? 3003 : 3020); ++seed) {
        const Form form = form_of_parts(seed);
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
    Form form = towers(one_tower);
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

TEST_CASE("a call without any candidates but the positives has losses of zero") {
  const Context context = make_context();
  Form form = towers(false);
  form.in_batch = false;
  form.further = {0};
  form.ids = 0;
  const Inputs whole = inputs_of(form);
  const Output got = run_in_parts(context, whole, in_one_part(whole));
  CHECK(got.result.scalars.loss == 0);
  CHECK(got.result.scalars.grad_scale == 0);
  CHECK(got.result.scalars.top1 == 1);
  for (const auto &gradient : got.gradients) {
    CHECK(std::all_of(gradient.begin(), gradient.end(), [](float value) { return value == 0; }));
  }
}

namespace {

void check_refused(const Inputs &whole, const std::string &what, const std::function<void(infonce_part &)> &spoil) {
  CAPTURE(what);
  const Context context = make_context();
  Split split = in_one_part(whole);
  split.parts.resize(1);
  for (const bool in_gradient : {false, true}) {
    const OpenedCall call(context, whole, split);
    Part part(whole, split.parts.front());
    infonce_failure failure = empty_failure();
    if (!in_gradient) {
      spoil(part.part);
      CHECK(call.add(part.part, failure) == INFONCE_INVALID_ARGUMENT);
    } else {
      call.add_parts();
      Output output(whole);
      call.close(output);
      infonce_upstream upstream{};
      upstream.struct_size = sizeof(upstream);
      REQUIRE(backend().open_gradient(context.handle(), call.handle(), &upstream, &failure) == INFONCE_OK);
      spoil(part.part);
      const infonce_output nothing{};
      CHECK(backend().add_gradient(context.handle(), call.handle(), &part.part, &nothing, &failure) ==
            INFONCE_INVALID_ARGUMENT);
    }
    CHECK(failure.matrix == INFONCE_NO_MATRIX);
    CHECK(std::string(failure.message) != "");
  }
}

#define REFUSES_PART(whole, ...) check_refused(whole, #__VA_ARGS__, [&](infonce_part &part) { __VA_ARGS__; })

int block_with_columns(const infonce_problem &problem) {
  for (int b = 0; b < problem.block_count; ++b) {
    if (problem.blocks[b].column_softmax >= 0) {
      return b;
    }
  }
  return -1;
}

}  // namespace

TEST_CASE("bad parts are refused") {
  for (const bool one_tower : {true, false}) {
    Form form = towers(one_tower);
    form.positive = one_tower ? form.positive : INFONCE_POSITIVE_SAME_INDEX;
    form.other_anchors = !one_tower;
    const Inputs whole = inputs_of(form);
    REFUSES_PART(whole, part.struct_size = 0);
    REFUSES_PART(whole, part.block = -1);
    REFUSES_PART(whole, part.block = whole.problem.block_count);
    REFUSES_PART(whole, part.block = INT32_MAX);
    REFUSES_PART(whole, part.block = block_with_columns(whole.problem));
    REFUSES_PART(whole, part.candidates.rows = 0);
    REFUSES_PART(whole, part.candidates.rows = -1);
    REFUSES_PART(whole, part.candidates.rows = INT64_MAX);
    REFUSES_PART(whole, part.candidates.data = nullptr);
    REFUSES_PART(whole, part.candidates.type = 3);
    REFUSES_PART(whole, part.candidates.residence = 2);
    const Buffer<float> bias(130);
    form.bias = false;
    const Inputs without = inputs_of(form);
    REFUSES_PART(without, part.candidates.bias = bias.data());
    REFUSES_PART(
        whole, part.block = 0; for (int b = 0; b < whole.problem.block_count; ++b) {
          part.block = whole.problem.blocks[b].left_out == INFONCE_LEAVE_OUT_SAME_ID ? b : part.block;
        } part.candidates.ids = nullptr);
  }
  Form form;
  form.positive = INFONCE_POSITIVE_SAME_ID;
  form.rows = form.memory = 20;
  form.further = {9};
  form.dim = 3;
  const Inputs whole = inputs_of(form);
  REFUSES_PART(whole, part.block = 1);  // the memory's
}

TEST_CASE("calls that cannot be opened are refused") {
  const Context context = make_context();
  const auto check = [&context](const infonce_problem &problem) {
    infonce_saved *saved = nullptr;
    infonce_failure failure = empty_failure();
    CHECK(backend().open(context.handle(), &problem, &saved, &failure) == INFONCE_INVALID_ARGUMENT);
    CHECK(saved == nullptr);
    CHECK(std::string(failure.message) != "");
  };
  Settings settings;
  settings.loss = Loss::kInfoNcePaired;
  settings.rows = 12;
  settings.dim = 5;
  settings.negative_rows = 3;
  check(Case(settings).problem);
  const Inputs whole = inputs_of(towers(false));
  for (int m = 0; m < whole.problem.matrix_count; ++m) {
    if (!is_candidate_alone(whole.problem, m)) {
      infonce_problem problem = whole.problem;
      problem.matrices[m].rows = 0;
      check(problem);
    }
  }
  infonce_problem problem = whole.problem;
  problem.struct_size = 0;
  check(problem);
}

TEST_CASE("NaN and infinity in a part are reported with its block's matrix and its row, or make every result NaN") {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const Context context = make_context();
  for (const bool one_tower : {true, false}) {
    Form form = towers(one_tower);
    while (block_of_further(inputs_of(form).problem) == matrix_of_further(inputs_of(form).problem)) {
      ++form.seed;
    }
    Inputs whole = inputs_of(form);
    const int block = block_of_further(whole.problem);
    const int matrix = matrix_of_further(whole.problem);
    Split split = all_opened(whole);
    split.opened[matrix] = 0;
    split.parts = split.gradient_parts = {{block, 0, 30}, {block, 30, 70}};
    const auto check_reported = [&](float *number, float value) {
      const float before = std::exchange(*number, value);
      const OpenedCall call(context, whole, split);
      infonce_failure failure = empty_failure();
      CHECK_MESSAGE(call.add(Part(whole, split.parts[0]).part, failure) == INFONCE_OK, failure.message);
      CHECK(call.add(Part(whole, split.parts[1]).part, failure) == INFONCE_NON_FINITE);
      CHECK(failure.matrix == matrix);
      CHECK(failure.row == 47);
      *number = before;
    };
    float *const element = &whole.matrices[matrix][static_cast<size_t>(77 * whole.problem.dim + 63)];
    check_reported(element, kNan);
    check_reported(element, -kInfinity);
    whole.bias[matrix] = Buffer<float>(100);
    whole.problem.matrices[matrix].bias = whole.bias[matrix].data();
    check_reported(&whole.bias[matrix][77], kNan);
    check_reported(&whole.bias[matrix][77], kInfinity);

    *element = kNan;
    whole.problem.propagate_non_finite = 1;
    const Output got = run_in_parts(context, whole, split);
    CHECK(std::isnan(got.result.scalars.loss));
    CHECK(std::isnan(got.result.scalars.grad_scale));
    CHECK(std::isnan(got.result.scalars.top1));
    CHECK(all_nan(got.row_loss));
    CHECK(std::all_of(got.gradients.begin(), got.gradients.end(), all_nan));
  }
}

TEST_CASE("a part that is cancelled before it begins ends") {
  const Context context = make_context();
  const Inputs whole = inputs_of(towers(false));
  const Split split = in_one_part(whole);
  const OpenedCall call(context, whole, split);
  Part part(whole, split.parts.front());
  const int32_t cancelled = 1;
  part.part.cancelled = &cancelled;
  infonce_failure failure = empty_failure();
  CHECK(call.add(part.part, failure) == INFONCE_CANCELLED);
  CHECK(std::string(failure.message) != "");
}

}  // namespace infonce::test

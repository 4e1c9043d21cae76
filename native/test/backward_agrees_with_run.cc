// A forward call and the backward calls after it give the same bits as one call of `run`.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "test/case.h"
#include "test/context.h"
#include "test/forms.h"

namespace infonce::test {

namespace {

// The saved state of a forward call.
class Saved {
 public:
  Saved(const Context &context, const Inputs &from, Output &output) : context_(context.handle()) {
    infonce_failure failure = empty_failure();
    const infonce_status status = backend().forward(context_, &from.problem, &output.result, &saved_, &failure);
    REQUIRE_MESSAGE(status == INFONCE_OK, failure.message);
    REQUIRE(saved_ != nullptr);
  }
  ~Saved() { backend().saved_destroy(context_, saved_); }
  Saved(const Saved &) = delete;
  Saved &operator=(const Saved &) = delete;

  infonce_status backward(const Inputs &from, Output &output, infonce_failure &failure,
                          const int32_t *cancelled = nullptr) const {
    infonce_upstream upstream{};
    upstream.struct_size = sizeof(upstream);
    upstream.grad_output = from.problem.grad_output;
    upstream.cancelled = cancelled;
    return backend().backward(context_, saved_, &upstream, &output.result, &failure);
  }

  void backward(const Inputs &from, Output &output) const {
    infonce_failure failure = empty_failure();
    REQUIRE_MESSAGE(backward(from, output, failure) == INFONCE_OK, failure.message);
  }

 private:
  infonce_context *context_;
  infonce_saved *saved_ = nullptr;
};

Context make_context(const std::string &set = instruction_sets().front(),
                     infonce_precision precision = INFONCE_PRECISION_HIGHEST) {
  return {set, precision, 2};
}

Settings settings_of(Loss loss, int64_t rows) {
  Settings settings;
  settings.loss = loss;
  settings.rows = rows;
  settings.dim = simulated() ? 20 : 40;
  settings.negative_rows = 50;
  settings.reduction = INFONCE_REDUCTION_NONE;
  settings.grad_output_count = rows;
  return settings;
}

// After a forward call the caller may do this.
void spoil_inputs(const Inputs &problem) {
  for (const Buffer<float> &matrix : problem.matrices) {
    std::fill(matrix.begin(), matrix.end(), std::numeric_limits<float>::quiet_NaN());
  }
  for (const Buffer<uint16_t> &matrix : problem.halves) {
    std::fill(matrix.begin(), matrix.end(), uint16_t{0xffff});
  }
  for (const Buffer<int32_t> &ids : problem.ids) {
    std::fill(ids.begin(), ids.end(), -7);
  }
  for (const Buffer<float> &bias : problem.bias) {
    std::fill(bias.begin(), bias.end(), std::numeric_limits<float>::quiet_NaN());
  }
  std::fill(problem.targets.begin(), problem.targets.end(), -7);
}

void check_forward_and_backward(const Context &context, const Settings &settings) {
  const Case problem(settings);
  INFO(describe(settings));
  const Output expected = run(context, problem);
  const Case copy(settings);
  Output first(problem);
  const Saved saved(context, copy, first);
  spoil_inputs(copy);
  CHECK(first.result.scalars.loss == expected.result.scalars.loss);
  CHECK(std::isnan(first.result.scalars.top1) == !settings.ranks);
  CHECK(std::isnan(first.result.scalars.top5) == !settings.ranks);
  if (settings.ranks) {
    CHECK(first.result.scalars.top1 == expected.result.scalars.top1);
    CHECK(first.result.scalars.top5 == expected.result.scalars.top5);
  }
  Output second(problem);
  for (Output *output : {&first, &second}) {
    // The context's memory is used for something else meanwhile.
    run(context, Case(settings_of(Loss::kClip, std::min<int64_t>(settings.rows, 1000) + 20)));
    saved.backward(problem, *output);
  }
  second.result.scalars.loss = first.result.scalars.loss;
  second.result.scalars.top1 = first.result.scalars.top1;
  second.result.scalars.top5 = first.result.scalars.top5;
  second.row_loss = std::move(first.row_loss);
  first.row_loss = Buffer<float>();
  CHECK(identical(second, expected));
  // The same each time.
  second.row_loss = Buffer<float>();
  CHECK(identical(first, second));
}

}  // namespace

TEST_CASE("forward, then backward twice, on every scheme") {
  const std::vector<int64_t> sizes = simulated() ? std::vector<int64_t>{140} : std::vector<int64_t>{6, 30, 210};
  for (const std::string &set : instruction_sets()) {
    for (const auto precision : {INFONCE_PRECISION_HIGHEST, INFONCE_PRECISION_MEDIUM}) {
      if (simulated() && precision != INFONCE_PRECISION_HIGHEST) {
        continue;
      }
      const Context context = make_context(set, precision);
      CAPTURE(set);
      CAPTURE(precision);
      for (const Loss loss : kLosses) {
        // Tiny and large, with a constant shift, with a running maximum; every row its own upstream gradient.
        for (const int64_t rows : sizes) {
          for (const double temperature : {0.1, 0.001}) {
            Settings settings = settings_of(loss, rows);
            settings.temperature = temperature;
            check_forward_and_backward(context, settings);
            settings.reduction = INFONCE_REDUCTION_MEAN;
            settings.grad_output_count = 1;
            settings.normalize = false;
            check_forward_and_backward(context, settings);
            settings.ranks = false;
            check_forward_and_backward(context, settings);
          }
        }
      }
      Settings classes = settings_of(Loss::kSupCon, 200);
      for (const Classes kind : {Classes::kOne, Classes::kMixed}) {
        classes.classes = kind;
        for (const double temperature : {0.1, 0.001}) {
          classes.temperature = temperature;
          check_forward_and_backward(context, classes);
        }
      }
    }
  }
}

TEST_CASE("forward, then backward twice, of many tiles" * doctest::skip(simulated())) {
  const Context context = make_context();
  for (const Loss loss : {Loss::kNtXentAll, Loss::kInfoNceUnpaired, Loss::kClip}) {
    Settings settings = settings_of(loss, 9000);
    settings.dim = 4;
    settings.negative_rows = 8000;
    check_forward_and_backward(context, settings);
  }
}

TEST_CASE("forward, then backward, of any form") {
  const Context context = make_context();
  for (uint32_t seed = 6000; seed < (simulated() ? 6008 : 6060); ++seed) {
    Form form = random_form(seed);
    form.gradient = true;
    INFO(describe(form));
    const Inputs inputs = inputs_of(form);
    const Output expected = run_with_rows(context, inputs);
    const Inputs copy = inputs_of(form);
    Output got(inputs);
    got.want_rows(inputs);
    const Saved saved(context, copy, got);
    spoil_inputs(copy);
    run(context, Case(settings_of(Loss::kClip, 90)));
    saved.backward(inputs, got);
    CHECK(identical(got, expected));
  }
}

TEST_CASE("one saved state serves any upstream gradient, with and without the gradient of the negatives") {
  const Context context = make_context();
  for (const Loss loss : kLosses) {
    Settings settings = settings_of(loss, 90);
    settings.grad_output_count = 0;
    const Case problem(settings);
    INFO(describe(settings));
    Output losses(problem);
    const Saved saved(context, problem, losses);
    for (const int64_t count : {settings.rows, int64_t(0), int64_t(1)}) {
      settings.grad_output_count = count;
      const Case upstream(settings);
      Output expected = run(context, upstream);
      expected.row_loss = Buffer<float>();
      for (const bool with_negatives : {true, false, true}) {
        Output got(upstream);
        if (!with_negatives) {
          got.result.gradients[kNegatives].data = nullptr;
        }
        saved.backward(upstream, got);
        got.result.scalars.loss = expected.result.scalars.loss;
        got.result.scalars.top1 = expected.result.scalars.top1;
        got.result.scalars.top5 = expected.result.scalars.top5;
        got.row_loss = Buffer<float>();
        Output wanted = run(context, upstream);
        wanted.row_loss = Buffer<float>();
        if (!with_negatives) {
          got.gradients[kNegatives] = Buffer<float>();
          wanted.gradients[kNegatives] = Buffer<float>();
        }
        CHECK(identical(got, wanted));
      }
    }
  }
}

TEST_CASE("states of several forward calls do not disturb each other") {
  const Context context = make_context();
  std::vector<std::unique_ptr<Case>> problems;
  std::vector<std::unique_ptr<Saved>> states;
  for (const Loss loss : kLosses) {
    Settings settings = settings_of(loss, 120 + 20 * static_cast<int64_t>(loss));
    settings.reduction = INFONCE_REDUCTION_SUM;
    settings.grad_output_count = 1;
    problems.push_back(std::make_unique<Case>(settings));
    Output output(*problems.back());
    states.push_back(std::make_unique<Saved>(context, *problems.back(), output));
  }
  for (size_t i = problems.size(); i-- > 0;) {
    Output got(*problems[i]);
    states[i]->backward(*problems[i], got);
    const Output expected = run(context, *problems[i]);
    got.result.scalars.loss = expected.result.scalars.loss;
    got.result.scalars.top1 = expected.result.scalars.top1;
    got.result.scalars.top5 = expected.result.scalars.top5;
    INFO(describe(problems[i]->settings));
    CHECK(identical(got, expected));
    states[i].reset();
  }
}

TEST_CASE("forward and backward calls report non-finite numbers and wrong arguments") {
  const Context context = make_context();
  for (const Loss loss : kLosses) {
    Settings settings = settings_of(loss, 40);
    INFO(describe(settings));
    Case problem(settings);
    Output output(problem);
    infonce_failure failure = empty_failure();
    {
      const Saved saved(context, problem, output);
      problem.grad_output[7] = std::numeric_limits<float>::infinity();
      CHECK(saved.backward(problem, output, failure) == INFONCE_NON_FINITE);
      CHECK(failure.matrix == INFONCE_IN_GRAD_OUTPUT);
      CHECK(failure.row == 7);
      problem.grad_output[7] = 1;
      problem.problem.grad_output.count = 3;
      CHECK(saved.backward(problem, output, failure) == INFONCE_INVALID_ARGUMENT);
      problem.problem.grad_output.count = settings.rows;
      output.result.gradients[kAnchors].data = nullptr;
      CHECK(saved.backward(problem, output, failure) == INFONCE_INVALID_ARGUMENT);
      output.result.gradients[kAnchors].data = output.gradients[kAnchors].data();
      const int32_t cancelled = 1;
      CHECK(saved.backward(problem, output, failure, &cancelled) == INFONCE_CANCELLED);
      saved.backward(problem, output);
    }
    problem.matrices[kAnchors][3] = std::numeric_limits<float>::quiet_NaN();
    infonce_saved *nothing = nullptr;
    CHECK(backend().forward(context.handle(), &problem.problem, &output.result, &nothing, &failure) ==
          INFONCE_NON_FINITE);
    CHECK(nothing == nullptr);
    problem.problem.propagate_non_finite = 1;
    const Saved spoiled(context, problem, output);
    CHECK(std::isnan(output.result.scalars.loss));
    spoiled.backward(problem, output);
    CHECK(std::isnan(output.result.scalars.grad_scale));
    CHECK(std::all_of(output.gradients.begin(), output.gradients.end(), all_nan));
  }
}

}  // namespace infonce::test

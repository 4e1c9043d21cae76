// A forward call and the backward calls after it give the bits of one call that did both.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "test/case.h"
#include "test/context.h"

namespace infonce::test {

namespace {

bool has_forward() {
  if (backend().forward != nullptr) {
    return true;
  }
  MESSAGE("this backend does not offer it");
  return false;
}

std::unique_ptr<Context> make_context() {
  return std::make_unique<Context>(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 2);
}

class Saved {
 public:
  Saved(const Context &context, const infonce_problem &problem, infonce_result &result) : context_(context.handle()) {
    status = backend().forward(context_, &problem, &result, &saved_, &failure);
  }
  ~Saved() {
    if (saved_) {
      backend().saved_destroy(context_, saved_);
    }
  }
  Saved(const Saved &) = delete;
  Saved &operator=(const Saved &) = delete;

  infonce_status backward(const infonce_upstream &upstream, infonce_result &result) {
    return backend().backward(context_, saved_, &upstream, &result, &failure);
  }
  bool is_there() const { return saved_ != nullptr; }

  infonce_status status;
  infonce_failure failure = empty_failure();

 private:
  infonce_context *context_;
  infonce_saved *saved_ = nullptr;
};

Settings settings_of(Loss loss) {
  Settings settings;
  settings.loss = loss;
  settings.rows = 140;
  settings.dim = simulated() ? 20 : 90;
  settings.negative_rows = loss == Loss::kInfoNcePaired ? 5 : 150;
  return settings;
}

std::vector<Settings> all_settings() {
  std::vector<Settings> all;
  for (const Loss loss : kLosses) {
    all.push_back(settings_of(loss));
    all.back().reduction = INFONCE_REDUCTION_NONE;
    all.back().grad_output_count = all.back().rows;
  }
  for (const Loss loss : {Loss::kNtXentAll, Loss::kClip, Loss::kInfoNceUnpaired}) {
    all.push_back(settings_of(loss));
    all.back().normalize = false;
    all.push_back(settings_of(loss));
    all.back().temperature = 0.001;
    all.back().grad_output_count = 1;
  }
  all.push_back(settings_of(Loss::kSupCon));
  all.back().classes = Classes::kMixed;
  return all;
}

infonce_upstream upstream_of(const Case &from) {
  infonce_upstream upstream{};
  upstream.struct_size = sizeof(upstream);
  upstream.grad_output_count = from.problem.grad_output_count;
  upstream.grad_output = from.grad_output.data();
  return upstream;
}

void check_case(const Settings &settings) {
  INFO(describe(settings));
  const auto context = make_context();
  const Case problem(settings);
  Output expected(problem);
  infonce_failure failure = empty_failure();
  REQUIRE_MESSAGE(context->run(problem.problem, expected.result, failure) == INFONCE_OK, failure.message);

  const Case given(settings);
  Output output(given);
  Saved saved(*context, given.problem, output.result);
  REQUIRE_MESSAGE(saved.status == INFONCE_OK, saved.failure.message);
  CHECK(std::all_of(output.grad_anchors.begin(), output.grad_anchors.end(), [](float x) { return x == 0; }));
  // None of the caller's arrays is needed any longer, and other work goes on meanwhile.
  for (const Buffer<float> *input : {&given.anchors, &given.keys, &given.negatives}) {
    std::fill(input->begin(), input->end(), NAN);
  }
  std::fill(given.labels.begin(), given.labels.end(), -7);
  Output other(problem);
  REQUIRE(context->run(problem.problem, other.result, failure) == INFONCE_OK);

  for (int turn = 0; turn < 2; ++turn) {
    Output gradients(given);
    REQUIRE_MESSAGE(saved.backward(upstream_of(given), gradients.result) == INFONCE_OK, saved.failure.message);
    for (size_t i = 0; i < output.row_loss.size(); ++i) {
      gradients.row_loss[i] = output.row_loss[i];
    }
    gradients.result.loss = output.result.loss;
    gradients.result.top1 = output.result.top1;
    gradients.result.top5 = output.result.top5;
    CHECK(identical(gradients, expected));
  }
}

}  // namespace

TEST_CASE("forward, then backward twice") {
  if (!has_forward()) {
    return;
  }
  for (const Settings &settings : all_settings()) {
    check_case(settings);
  }
}

TEST_CASE("states live side by side, and each backward call has its own upstream gradient") {
  if (!has_forward()) {
    return;
  }
  const auto context = make_context();
  std::vector<std::unique_ptr<Case>> cases;
  std::vector<std::unique_ptr<Saved>> states;
  for (const Loss loss : {Loss::kClip, Loss::kNtXentFirst, Loss::kInfoNcePaired}) {
    cases.push_back(std::make_unique<Case>(settings_of(loss)));
    Output output(*cases.back());
    states.push_back(std::make_unique<Saved>(*context, cases.back()->problem, output.result));
    REQUIRE(states.back()->status == INFONCE_OK);
  }
  for (const float factor : {0.5f, -2.0f}) {
    for (size_t i = 0; i < cases.size(); ++i) {
      INFO(describe(cases[i]->settings));
      infonce_problem problem = cases[i]->problem;
      problem.grad_output_count = 1;
      problem.grad_output = &factor;
      Output expected(*cases[i]);
      Output gradients(*cases[i]);
      infonce_failure failure = empty_failure();
      REQUIRE(context->run(problem, expected.result, failure) == INFONCE_OK);
      infonce_upstream upstream = upstream_of(*cases[i]);
      upstream.grad_output_count = 1;
      upstream.grad_output = &factor;
      CHECK(states[i]->backward(upstream, gradients.result) == INFONCE_OK);
      gradients.result.loss = expected.result.loss;
      gradients.result.top1 = expected.result.top1;
      gradients.result.top5 = expected.result.top5;
      CHECK(identical(gradients, expected));
    }
  }
}

TEST_CASE("bad input and bad upstream gradients") {
  if (!has_forward()) {
    return;
  }
  const auto context = make_context();
  const Case problem(settings_of(Loss::kInfoNceInBatch));
  Output output(problem);
  Saved saved(*context, problem.problem, output.result);
  REQUIRE(saved.status == INFONCE_OK);
  infonce_upstream upstream = upstream_of(problem);
  const float infinite = INFINITY;
  upstream.grad_output_count = 1;
  upstream.grad_output = &infinite;
  CHECK(saved.backward(upstream, output.result) == INFONCE_NON_FINITE);
  CHECK(saved.failure.input == INFONCE_INPUT_GRAD_OUTPUT);
  upstream.grad_output_count = 2;
  CHECK(saved.backward(upstream, output.result) == INFONCE_INVALID_ARGUMENT);
  int32_t cancelled = 1;
  upstream = upstream_of(problem);
  upstream.cancelled = &cancelled;
  CHECK(saved.backward(upstream, output.result) == INFONCE_CANCELLED);
  upstream.cancelled = nullptr;
  CHECK(saved.backward(upstream, output.result) == INFONCE_OK);

  problem.keys[static_cast<size_t>(9 * problem.settings.dim)] = NAN;
  const Saved refused(*context, problem.problem, output.result);
  CHECK(refused.status == INFONCE_NON_FINITE);
  CHECK(!refused.is_there());
  infonce_problem propagating = problem.problem;
  propagating.propagate_non_finite = 1;
  Saved spread(*context, propagating, output.result);
  REQUIRE(spread.status == INFONCE_OK);
  CHECK(std::isnan(output.result.loss));
  CHECK(spread.backward(upstream, output.result) == INFONCE_OK);
  CHECK(std::isnan(output.result.grad_scale));
  CHECK(std::all_of(output.grad_anchors.begin(), output.grad_anchors.end(), [](float x) { return std::isnan(x); }));
}

}  // namespace infonce::test

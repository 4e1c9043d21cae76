// Calls that begin before others have ended give the bits of sequential calls.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

#include "test/case.h"
#include "test/context.h"

namespace infonce::test {

namespace {

std::unique_ptr<Context> make_context() {
  return std::make_unique<Context>(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 2);
}

Settings settings_of(Loss loss, int64_t rows, int64_t dim) {
  Settings settings;
  settings.loss = loss;
  settings.rows = rows;
  settings.dim = dim;
  settings.negative_rows = 37;
  settings.reduction = rows % 4 == 0 ? INFONCE_REDUCTION_NONE : INFONCE_REDUCTION_MEAN;
  return settings;
}

// Different shapes, losses and schemes.
std::vector<Case> mixed_cases() {
  std::vector<Case> cases;
  cases.emplace_back(settings_of(Loss::kNtXentFirst, 300, 70));
  cases.emplace_back(settings_of(Loss::kInfoNcePaired, 20, 9));
  cases.emplace_back(settings_of(Loss::kClip, 64, 130));
  Settings classes = settings_of(Loss::kSupCon, 90, 20);
  classes.classes = Classes::kMixed;  // the call waits for what its first kernels find
  cases.emplace_back(classes);
  Settings raw = settings_of(Loss::kInfoNceUnpaired, 42, 33);
  raw.normalize = false;
  cases.emplace_back(raw);
  Settings unranked = settings_of(Loss::kNtXentAll, 80, 40);
  unranked.ranks = false;
  cases.emplace_back(unranked);
  return cases;
}

class Flight {
 public:
  Flight(const Context &context, const infonce_problem &problem, infonce_result &result) : context_(context) {
    infonce_failure failure = empty_failure();
    const infonce_status status = backend().begin(context.handle(), &problem, &result, &call_, &failure);
    REQUIRE_MESSAGE(status == INFONCE_OK, failure.message);
  }
  infonce_status end() {
    infonce_failure failure = empty_failure();
    return backend().end(context_.handle(), call_, &failure);
  }

 private:
  const Context &context_;
  infonce_call *call_ = nullptr;
};

// A case whose matrices and gradients lie in page-locked memory.
class PinnedCase {
 public:
  explicit PinnedCase(const Case &from) : output(from), problem(from.problem) {
    result = output.result;
    for (int m = 0; m < problem.matrix_count; ++m) {
      problem.matrices[m].data = pin(from.matrices[m]);
      result.gradients[m].data = pin(output.gradients[m]);
    }
  }
  ~PinnedCase() {
    for (float *memory : memory_) {
      backend().host_release(memory);
    }
  }
  PinnedCase(const PinnedCase &) = delete;
  PinnedCase &operator=(const PinnedCase &) = delete;

  const Output &copy_output() {
    for (int m = 0; m < problem.matrix_count; ++m) {
      std::copy_n(result.gradients[m].data, output.gradients[m].size(), output.gradients[m].begin());
    }
    output.result.scalars = result.scalars;
    return output;
  }

  Output output;
  infonce_problem problem;
  infonce_result result{};

 private:
  float *pin(const Buffer<float> &buffer) {
    if (buffer.size() == 0) {
      return nullptr;
    }
    void *memory = nullptr;
    infonce_failure failure = empty_failure();
    const auto bytes = static_cast<int64_t>(buffer.size() * sizeof(float));
    REQUIRE_MESSAGE(backend().host_allocate(0, bytes, &memory, &failure) == INFONCE_OK, failure.message);
    std::memcpy(memory, buffer.data(), buffer.size() * sizeof(float));
    memory_.push_back(static_cast<float *>(memory));
    return memory_.back();
  }

  std::vector<float *> memory_;
};

std::vector<Output> outputs_of_runs(const std::vector<Case> &cases) {
  std::vector<Output> outputs;
  for (const Case &problem : cases) {
    const auto context = make_context();
    outputs.emplace_back(problem);
    infonce_failure failure = empty_failure();
    REQUIRE_MESSAGE(context->run(problem.problem, outputs.back().result, failure) == INFONCE_OK, failure.message);
  }
  return outputs;
}

}  // namespace

TEST_CASE("two calls in flight, and all at once" * doctest::skip(!has_begin_and_end())) {
  const std::vector<Case> cases = mixed_cases();
  const std::vector<Output> expected = outputs_of_runs(cases);
  const auto context = make_context();
  for (const size_t in_flight : {size_t(2), cases.size()}) {
    for (size_t first = 0; first < cases.size(); first += in_flight) {
      const size_t end = std::min(first + in_flight, cases.size());
      std::vector<Output> outputs;
      std::vector<Flight> flights;
      for (size_t i = first; i < end; ++i) {
        outputs.emplace_back(cases[i]);
      }
      for (size_t i = first; i < end; ++i) {
        flights.emplace_back(*context, cases[i].problem, outputs[i - first].result);
      }
      for (size_t i = first; i < end; ++i) {
        INFO(describe(cases[i].settings));
        CHECK(flights[i - first].end() == INFONCE_OK);
        CHECK(identical(outputs[i - first], expected[i]));
      }
    }
  }
}

TEST_CASE("calls in flight with page-locked arrays" * doctest::skip(!has_begin_and_end())) {
  const std::vector<Case> cases = mixed_cases();
  const std::vector<Output> expected = outputs_of_runs(cases);
  const auto context = make_context();
  std::vector<std::unique_ptr<PinnedCase>> pinned;
  std::vector<Flight> flights;
  for (const Case &problem : cases) {
    pinned.push_back(std::make_unique<PinnedCase>(problem));
    flights.emplace_back(*context, pinned.back()->problem, pinned.back()->result);
  }
  for (size_t i = 0; i < cases.size(); ++i) {
    INFO(describe(cases[i].settings));
    CHECK(flights[i].end() == INFONCE_OK);
    CHECK(identical(pinned[i]->copy_output(), expected[i]));
  }
}

TEST_CASE("a call reads what the one before it leaves on the device" * doctest::skip(!has_begin_and_end())) {
  const Case problem(settings_of(Loss::kNtXentAll, 66, 24));
  const auto context = make_context();
  infonce_failure failure = empty_failure();
  const auto bytes = static_cast<int64_t>(problem.matrices[kAnchors].size() * sizeof(float));
  void *gradient = nullptr;
  REQUIRE(backend().allocate(context->handle(), bytes, &gradient, &failure) == INFONCE_OK);

  // The loss of the gradient of the rows.
  Output first(problem);
  Output second(problem);
  first.result.gradients[kAnchors] = {static_cast<float *>(gradient), INFONCE_ON_DEVICE};
  infonce_problem from_device = problem.problem;
  from_device.matrices[kAnchors].data = gradient;
  from_device.matrices[kAnchors].residence = INFONCE_ON_DEVICE;
  Flight a(*context, problem.problem, first.result);
  Flight b(*context, from_device, second.result);
  CHECK(a.end() == INFONCE_OK);
  CHECK(b.end() == INFONCE_OK);
  backend().release(context->handle(), gradient);

  Output on_host(problem);
  Output expected(problem);
  REQUIRE(context->run(problem.problem, on_host.result, failure) == INFONCE_OK);
  infonce_problem again = problem.problem;
  again.matrices[kAnchors].data = on_host.gradients[kAnchors].data();
  REQUIRE(context->run(again, expected.result, failure) == INFONCE_OK);
  CHECK(identical(second, expected));
}

TEST_CASE("of calls in flight that fill the same arrays, the last one's results stay" *
          doctest::skip(!has_begin_and_end())) {
  const Case problem(settings_of(Loss::kClip, 42, 24));
  const auto context = make_context();
  infonce_failure failure = empty_failure();
  Output expected(problem);
  REQUIRE(context->run(problem.problem, expected.result, failure) == INFONCE_OK);

  const Case bad(settings_of(Loss::kClip, 42, 24));
  bad.matrices[kKeys][33] = NAN;
  PinnedCase second(problem);
  PinnedCase first(bad);
  first.problem.propagate_non_finite = 1;
  std::copy(std::begin(second.result.gradients), std::end(second.result.gradients), first.result.gradients);
  Flight a(*context, first.problem, first.result);
  Flight b(*context, second.problem, second.result);
  CHECK(a.end() == INFONCE_OK);
  CHECK(b.end() == INFONCE_OK);
  CHECK(std::isnan(first.result.scalars.loss));
  CHECK(identical(second.copy_output(), expected));
}

TEST_CASE("a call is cancelled while the next one, which begins, waits for it" * doctest::skip(!has_begin_and_end())) {
  Settings settings = settings_of(Loss::kSupCon, 90, 20);
  settings.classes = Classes::kMixed;  // the call waits for what its first kernels find
  const Case problem(settings);
  const auto context = make_context();
  infonce_failure failure = empty_failure();
  Output expected(problem);
  REQUIRE(context->run(problem.problem, expected.result, failure) == INFONCE_OK);

  int32_t cancelled = 0;
  infonce_problem cancelled_problem = problem.problem;
  cancelled_problem.cancelled = &cancelled;
  Output first(problem);
  Output second(problem);
  Output third(problem);
  Flight ending(*context, cancelled_problem, first.result);
  cancelled = 1;
  Flight next(*context, problem.problem, second.result);
  CHECK(ending.end() == INFONCE_CANCELLED);
  CHECK(next.end() == INFONCE_OK);
  CHECK(identical(second, expected));
  cancelled = 0;
  Flight again(*context, cancelled_problem, third.result);
  CHECK(again.end() == INFONCE_OK);
  CHECK(identical(third, expected));
}

TEST_CASE("a call that fails or is cancelled does not disturb its neighbours" * doctest::skip(!has_begin_and_end())) {
  const Case problem(settings_of(Loss::kNtXentAll, 66, 24));
  const Case bad(settings_of(Loss::kClip, 40, 30));
  bad.matrices[kKeys][33] = NAN;
  const auto context = make_context();
  Output expected(problem);
  infonce_failure failure = empty_failure();
  REQUIRE(context->run(problem.problem, expected.result, failure) == INFONCE_OK);

  int32_t cancelled = 0;
  infonce_problem cancelled_problem = problem.problem;
  cancelled_problem.cancelled = &cancelled;
  Output outputs[] = {Output(problem), Output(bad), Output(problem), Output(problem)};
  Flight first(*context, problem.problem, outputs[0].result);
  Flight failing(*context, bad.problem, outputs[1].result);
  Flight ending(*context, cancelled_problem, outputs[2].result);
  cancelled = 1;
  infonce_call *none = nullptr;
  CHECK(backend().begin(context->handle(), &cancelled_problem, &outputs[3].result, &none, &failure) ==
        INFONCE_CANCELLED);
  CHECK(none == nullptr);
  Flight last(*context, problem.problem, outputs[3].result);
  CHECK(first.end() == INFONCE_OK);
  CHECK(failing.end() == INFONCE_NON_FINITE);
  const infonce_status status = ending.end();  // unless it was done before
  CHECK((status == INFONCE_CANCELLED || status == INFONCE_OK));
  CHECK(last.end() == INFONCE_OK);
  CHECK(identical(outputs[0], expected));
  CHECK(identical(outputs[3], expected));
}

}  // namespace infonce::test

// On a library in which a launch or a copy fails, or finds its call cancelled, where the environment says so.
#include <doctest/doctest.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "test/case.h"
#include "test/context.h"

namespace infonce::test {

namespace {

constexpr int kMostCalls = 50;

Settings settings_of(Loss loss, double temperature) {
  Settings settings;
  settings.loss = loss;
  settings.rows = 150;
  settings.dim = 20;
  settings.negative_rows = 6;
  settings.temperature = temperature;
  return settings;
}

void check_lost(infonce_status status, const infonce_failure &failure) {
  CHECK(status == INFONCE_DEVICE_LOST);
  CHECK(std::strstr(failure.message, "lost its device") != nullptr);
}

}  // namespace

TEST_CASE("after a fault every call in flight and every later one fails, and a new context works" *
          doctest::skip(!std::getenv("INFONCE_FAULT"))) {
  const Case problem(settings_of(Loss::kNtXentAll, 0.1));
  auto context = std::make_unique<Context>(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 1);
  Output outputs[] = {Output(problem), Output(problem)};
  infonce_failure failure = empty_failure();
  int lost = 0;
  for (int turn = 0; turn < kMostCalls && lost == 0; ++turn) {
    infonce_call *calls[] = {nullptr, nullptr};
    infonce_status begun[2];
    for (int i = 0; i < 2; ++i) {
      begun[i] = backend().begin(context->handle(), &problem.problem, &outputs[i].result, &calls[i], &failure);
      if (begun[i] != INFONCE_OK) {
        check_lost(begun[i], failure);
        CHECK(calls[i] == nullptr);
        ++lost;
      }
    }
    for (int i = 0; i < 2; ++i) {
      if (begun[i] != INFONCE_OK) {
        continue;
      }
      const infonce_status status = backend().end(context->handle(), calls[i], &failure);
      if (lost > 0 || status != INFONCE_OK) {
        check_lost(status, failure);
        ++lost;
      }
    }
  }
  REQUIRE(lost > 0);

  void *memory = nullptr;
  infonce_saved *saved = nullptr;
  check_lost(context->run(problem.problem, outputs[0].result, failure), failure);
  check_lost(backend().forward(context->handle(), &problem.problem, &outputs[0].result, &saved, &failure), failure);
  check_lost(backend().allocate(context->handle(), 64, &memory, &failure), failure);
  CHECK(saved == nullptr);
  CHECK(memory == nullptr);
  context.reset();

  const Context next(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 1);
  CHECK(next.run(problem.problem, outputs[0].result, failure) == INFONCE_OK);
  CHECK(next.run(problem.problem, outputs[1].result, failure) == INFONCE_OK);
  CHECK(identical(outputs[0], outputs[1]));
}

#if !defined(_WIN32)
TEST_CASE("blocks that find their call cancelled return at once, and the next call is right" *
          doctest::skip(std::getenv("INFONCE_FAULT") != nullptr)) {
  for (const auto precision : {INFONCE_PRECISION_HIGHEST, INFONCE_PRECISION_MEDIUM}) {
    for (const auto &[loss, temperature] : {std::pair(Loss::kNtXentFirst, 0.1), std::pair(Loss::kClip, 0.0125),
                                            std::pair(Loss::kInfoNcePaired, 0.1), std::pair(Loss::kSupCon, 0.001)}) {
      const Context context(instruction_sets().front(), precision, 1);
      const Case from(settings_of(loss, temperature));
      INFO(describe(from.settings));
      const int32_t not_asked = 0;
      infonce_problem problem = from.problem;
      problem.cancelled = &not_asked;  // that the word is read
      const auto run = [&](double factor) {
        infonce_problem scaled = problem;
        scaled.scale *= factor;
        Output output(from);
        infonce_failure failure = empty_failure();
        REQUIRE_MESSAGE(context.run(scaled, output.result, failure) == INFONCE_OK, failure.message);
        return output;
      };
      const Output expected = run(1);
      run(0.95);  // leaves other numbers in the working memory
      setenv("INFONCE_CANCEL", "1", 1);
      CHECK(!identical(run(1), expected));
      unsetenv("INFONCE_CANCEL");
      CHECK(identical(run(1), expected));
    }
  }
}
#endif

}  // namespace infonce::test

#include <doctest/doctest.h>

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "test/case.h"
#include "test/context.h"

namespace infonce::test {

namespace {

void set(int32_t *cancelled) { __atomic_store_n(cancelled, 1, __ATOMIC_RELAXED); }

infonce_status run(const Context &context, const Case &from, const int32_t *cancelled, Output &output) {
  infonce_problem problem = from.problem;
  problem.cancelled = cancelled;
  infonce_failure failure = empty_failure();
  const infonce_status status = context.run(problem, output.result, failure);
  CHECK((*failure.message != '\0') == (status != INFONCE_OK));
  return status;
}

Settings settings_of(Loss loss) {
  Settings settings;
  settings.loss = loss;
  settings.rows = simulated() ? 200 : 900;
  settings.dim = simulated() ? 20 : 64;
  settings.negative_rows = simulated() ? 10 : 100;
  return settings;
}

std::unique_ptr<Context> make_context() {
  return std::make_unique<Context>(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 2);
}

}  // namespace

TEST_CASE("a call that is cancelled before it begins does nothing, and the next one is correct") {
  const std::unique_ptr<Context> context = make_context();
  for (const Loss loss : kLosses) {
    const Case problem(settings_of(loss));
    INFO(describe(problem.settings));
    Output expected(problem);
    int32_t cancelled = 0;
    REQUIRE(run(*context, problem, &cancelled, expected) == INFONCE_OK);
    set(&cancelled);
    Output nothing(problem);
    CHECK(run(*context, problem, &cancelled, nothing) == INFONCE_CANCELLED);
    CHECK(identical(nothing, Output(problem)));
    Output got(problem);
    CHECK(run(*context, problem, nullptr, got) == INFONCE_OK);
    CHECK(identical(got, expected));
  }
}

TEST_CASE("a call that is cancelled at any moment ends or is correct, and so is the next one") {
  const std::unique_ptr<Context> context = make_context();
  const int moments = simulated() ? 2 : 8;
  for (const Loss loss : kLosses) {
    for (const double temperature : {0.1, 0.001}) {
      Settings settings = settings_of(loss);
      settings.temperature = temperature;
      INFO(describe(settings));
      const Case problem(settings);
      Output expected(problem);
      const auto start = std::chrono::steady_clock::now();
      REQUIRE(run(*context, problem, nullptr, expected) == INFONCE_OK);
      const auto whole = std::chrono::steady_clock::now() - start;
      for (int moment = 0; moment < moments; ++moment) {
        int32_t cancelled = 0;
        std::thread other([&] {
          std::this_thread::sleep_for(whole * moment / moments);
          set(&cancelled);
        });
        Output got(problem);
        const infonce_status status = run(*context, problem, &cancelled, got);
        other.join();
        CHECK((status == INFONCE_CANCELLED || (status == INFONCE_OK && identical(got, expected))));
      }
      Output after(problem);
      CHECK(run(*context, problem, nullptr, after) == INFONCE_OK);
      CHECK(identical(after, expected));
    }
  }
}

// Without cancelling, each of these would run many times as long.
TEST_CASE("calls of many tiles, and of few rows with many negatives, end when they are cancelled") {
  const std::unique_ptr<Context> context = make_context();
  std::vector<Settings> shapes(1);
  shapes[0].loss = Loss::kNtXentAll;
  shapes[0].rows = simulated() ? 4000 : 150'000;
  shapes[0].dim = 64;
  if (on_cpu()) {
    shapes.push_back(shapes[0]);
    shapes[1].loss = Loss::kInfoNceUnpaired;
    shapes[1].rows = 20;
    shapes[1].negative_rows = 300'000;
    shapes[1].temperature = 0.001;
  }
  for (const Settings &settings : shapes) {
    INFO(describe(settings));
    const Case problem(settings);
    Output output(problem);
    infonce_status status = INFONCE_OK;
    // On a machine with more to do, what cancels it may come when it is over.
    for (int attempt = 0; attempt < 20 && status == INFONCE_OK; ++attempt) {
      int32_t cancelled = 0;
      std::thread other([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(30));
        set(&cancelled);
      });
      status = run(*context, problem, &cancelled, output);
      other.join();
    }
    CHECK(status == INFONCE_CANCELLED);
  }
}

}  // namespace infonce::test

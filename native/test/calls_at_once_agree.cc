#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "test/case.h"
#include "test/context.h"

namespace infonce::test {

namespace {

int calls() { return simulated() ? 5 : 20; }

Settings settings_of(Loss loss, int64_t rows) {
  Settings settings;
  settings.loss = loss;
  settings.rows = rows;
  settings.dim = 48;
  settings.negative_rows = 30;
  return settings;
}

// Calls again and again; the number of results that are not `expected`.
int count_differences(const Context &context, const Case &problem, const Output &expected) {
  int differences = 0;
  for (int call = 0; call < calls(); ++call) {
    Output output(problem);
    infonce_failure failure = empty_failure();
    const infonce_status status = context.run(problem.problem, output.result, failure);
    differences += status != INFONCE_OK || !identical(output, expected);
  }
  return differences;
}

// One thread for each loss, all at once, each in a context of its own or all in the same.
void check_at_once(const std::vector<std::shared_ptr<Context>> &contexts) {
  constexpr Loss losses[] = {Loss::kNtXentFirst, Loss::kSupCon, Loss::kClip};
  std::vector<Case> problems;
  std::vector<Output> expected;
  for (const Loss loss : losses) {
    problems.emplace_back(settings_of(loss, loss == Loss::kClip ? 64 : 400));
    expected.emplace_back(problems.back());
    infonce_failure failure = empty_failure();
    REQUIRE(contexts[0]->run(problems.back().problem, expected.back().result, failure) == INFONCE_OK);
  }
  std::vector<int> differences(problems.size(), -1);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < problems.size(); ++i) {
    threads.emplace_back([&, i] {
      differences[i] = count_differences(*contexts[i % contexts.size()], problems[i], expected[i]);
    });
  }
  for (std::thread &thread : threads) {
    thread.join();
  }
  CHECK(differences == std::vector<int>(problems.size(), 0));
}

std::shared_ptr<Context> make_context() {
  return std::make_shared<Context>(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 2);
}

}  // namespace

TEST_CASE("threads that share a context get the results of calls one after another") { check_at_once({make_context()}); }

TEST_CASE("contexts do not disturb each other") { check_at_once({make_context(), make_context(), make_context()}); }

TEST_CASE("contexts come and go while others run") {
  const Case problem(settings_of(Loss::kNtXentAll, 200));
  Output expected(problem);
  infonce_failure failure = empty_failure();
  REQUIRE(make_context()->run(problem.problem, expected.result, failure) == INFONCE_OK);
  int differences[2] = {-1, -1};
  std::vector<std::thread> threads;
  for (int &count : differences) {
    threads.emplace_back([&] {
      count = 0;
      for (int i = 0; i < calls() / 2; ++i) {
        const Context context(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 1 + i % 3);
        count += count_differences(context, problem, expected);
      }
    });
  }
  for (std::thread &thread : threads) {
    thread.join();
  }
  CHECK(differences[0] == 0);
  CHECK(differences[1] == 0);
}

}  // namespace infonce::test

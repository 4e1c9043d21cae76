#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <iterator>
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
    threads.emplace_back(
        [&, i] { differences[i] = count_differences(*contexts[i % contexts.size()], problems[i], expected[i]); });
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

TEST_CASE("threads that share a context get the results of sequential calls") { check_at_once({make_context()}); }

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

TEST_CASE("a context is trimmed while others run in it") {
  const std::shared_ptr<Context> context = make_context();
  const Case problem(settings_of(Loss::kNtXentAll, 300));
  Output expected(problem);
  infonce_failure failure = empty_failure();
  REQUIRE(context->run(problem.problem, expected.result, failure) == INFONCE_OK);
  std::atomic<int> running{2};
  int differences[2] = {-1, -1};
  std::vector<std::thread> threads;
  for (int &count : differences) {
    threads.emplace_back([&] {
      count = count_differences(*context, problem, expected);
      --running;
    });
  }
  int refused = 0;
  do {
    int64_t freed = -1;
    infonce_failure why = empty_failure();
    refused += backend().trim(context->handle(), &freed, &why) != INFONCE_OK || freed < 0;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  } while (running > 0);
  for (std::thread &thread : threads) {
    thread.join();
  }
  CHECK(refused == 0);
  CHECK(differences[0] == 0);
  CHECK(differences[1] == 0);
}

TEST_CASE("forward and backward calls, allocations and cancelled calls may share a context with others") {
  const std::shared_ptr<Context> context = make_context();
  const Case problem(settings_of(Loss::kSupConMemory, 300));
  Output expected(problem);
  infonce_failure failure = empty_failure();
  REQUIRE(context->run(problem.problem, expected.result, failure) == INFONCE_OK);
  int differences[3] = {-1, -1, -1};
  std::vector<std::thread> threads;
  threads.emplace_back([&] { differences[0] = count_differences(*context, problem, expected); });
  threads.emplace_back([&] {
    differences[1] = 0;
    for (int call = 0; call < calls(); ++call) {
      Output output(problem);
      infonce_failure why = empty_failure();
      infonce_saved *saved = nullptr;
      infonce_upstream upstream{};
      upstream.struct_size = sizeof(upstream);
      const bool fine =
          backend().forward(context->handle(), &problem.problem, &output.result, &saved, &why) == INFONCE_OK &&
          backend().backward(context->handle(), saved, &upstream, &output.result, &why) == INFONCE_OK &&
          identical(output, expected);
      differences[1] += !fine;
      backend().saved_destroy(context->handle(), saved);
    }
  });
  threads.emplace_back([&] {
    differences[2] = 0;
    const Buffer<float> &anchors = problem.matrices[kAnchors];
    const auto bytes = static_cast<int64_t>(anchors.size() * sizeof(float));
    for (int call = 0; call < calls(); ++call) {
      infonce_failure why = empty_failure();
      void *memory = nullptr;
      infonce_problem there = problem.problem;
      const int32_t cancelled = 1;
      Output output(problem);
      bool fine =
          backend().allocate(context->handle(), bytes, &memory, &why) == INFONCE_OK &&
          backend().copy(context->handle(), memory, anchors.data(), bytes, INFONCE_COPY_TO_DEVICE, &why) == INFONCE_OK;
      there.matrices[kAnchors].data = memory;
      there.matrices[kAnchors].residence = INFONCE_ON_DEVICE;
      fine &= context->run(there, output.result, why) == INFONCE_OK && identical(output, expected);
      there.cancelled = &cancelled;
      fine &= context->run(there, output.result, why) == INFONCE_CANCELLED;
      differences[2] += !fine;
      backend().release(context->handle(), memory);
    }
  });
  for (std::thread &thread : threads) {
    thread.join();
  }
  CHECK(std::vector<int>(std::begin(differences), std::end(differences)) == std::vector<int>(3, 0));
}

}  // namespace infonce::test

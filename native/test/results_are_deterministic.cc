#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <vector>

#include "test/case.h"
#include "test/context.h"
#include "test/forms.h"

namespace infonce::test {

namespace {

Settings settings_of(Loss loss, int64_t rows) {
  Settings settings;
  settings.loss = loss;
  settings.rows = rows;
  settings.dim = 40;
  settings.negative_rows = 50;
  settings.reduction = INFONCE_REDUCTION_NONE;
  settings.grad_output_count = rows;
  return settings;
}

std::vector<int64_t> sizes() {
  std::vector<int64_t> rows = {34, 300};
  if (!simulated()) {
    rows.push_back(1000);
  }
  return rows;
}

// Every number of threads, twice in the same context.
void check_calls(const std::string &set, infonce_precision precision) {
  std::vector<std::unique_ptr<Context>> contexts;
  for (const int threads : thread_counts()) {
    contexts.push_back(std::make_unique<Context>(set, precision, threads));
  }
  for (const Loss loss : kLosses) {
    for (const int64_t rows : sizes()) {
      const Settings settings = settings_of(loss, rows);
      const Case problem(settings);
      CAPTURE(set);
      CAPTURE(precision);
      INFO(describe(settings));
      const Output expected = run(*contexts.front(), problem);
      for (const std::unique_ptr<Context> &context : contexts) {
        CHECK(identical(run(*context, problem), expected));
        CHECK(identical(run(*context, problem), expected));
      }
    }
  }
}

}  // namespace

TEST_CASE("every number of threads and every call gives the same bits") {
  for (const std::string &set : instruction_sets()) {
    for (const auto precision : {INFONCE_PRECISION_HIGHEST, INFONCE_PRECISION_MEDIUM}) {
      check_calls(set, precision);
    }
  }
}

TEST_CASE("every number of threads and every call gives the same bits of any form") {
  for (const std::string &set : instruction_sets()) {
    for (const auto precision : {INFONCE_PRECISION_HIGHEST, INFONCE_PRECISION_MEDIUM}) {
      const Context first(set, precision, 1);
      const Context second(set, precision, thread_counts().back());
      CAPTURE(set);
      CAPTURE(precision);
      for (uint32_t seed = 4000; seed < (simulated() ? 4006 : 4040); ++seed) {
        Form form = random_form(seed);
        if (!simulated() && seed % 8 == 7) {
          // More than one tile.
          form.dim = 7;
          form.further.assign(1, 2300);
        }
        INFO(describe(form));
        const Inputs inputs = inputs_of(form);
        const Output expected = run_with_rows(first, inputs);
        CHECK(identical(run_with_rows(second, inputs), expected));
        CHECK(identical(run_with_rows(second, inputs), expected));
      }
    }
  }
}

TEST_CASE("the calls before it do not change a result") {
  constexpr int kThreads = 2;
  const std::string set = instruction_sets().front();
  const Context used(set, INFONCE_PRECISION_HIGHEST, kThreads);
  const int64_t large = simulated() ? 300 : 1100;
  for (const Loss before : {Loss::kNtXentAll, Loss::kClip, Loss::kInfoNceUnpaired}) {
    for (const Loss loss : kLosses) {
      const Case problem(settings_of(loss, 30));
      INFO(describe(problem.settings));
      run(used, Case(settings_of(before, large)));
      const Context fresh(set, INFONCE_PRECISION_HIGHEST, kThreads);
      CHECK(identical(run(used, problem), run(fresh, problem)));
    }
  }
}

}  // namespace infonce::test

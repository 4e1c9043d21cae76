#include <doctest/doctest.h>

#include <cstdint>
#include <functional>
#include <string>

#include "test/case.h"
#include "test/context.h"

namespace infonce::test {

namespace {

using Spoil = std::function<void(infonce_problem &, infonce_result &)>;

// Runs the case with one thing wrong, then as it should be.
void check_refused(Loss loss, const std::string &what, const Spoil &spoil) {
  const Context context(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 2);
  Settings settings;
  settings.loss = loss;
  settings.rows = 12;
  settings.dim = 5;
  settings.negative_rows = 3;
  settings.reduction = INFONCE_REDUCTION_NONE;
  settings.grad_output_count = 12;
  const Case good(settings);
  Output output(good);
  infonce_problem problem = good.problem;
  infonce_result result = output.result;
  spoil(problem, result);

  INFO(describe(settings));
  CAPTURE(what);
  infonce_failure failure = empty_failure();
  CHECK(context.run(problem, result, failure) == INFONCE_INVALID_ARGUMENT);
  CHECK(std::string(failure.message) != "");

  failure = empty_failure();
  CHECK_MESSAGE(context.run(good.problem, output.result, failure) == INFONCE_OK, failure.message);
}

#define REFUSES(loss, statement) \
  check_refused(loss, #statement, [](infonce_problem &problem, infonce_result &result) { \
    (void)problem;                                                                        \
    (void)result;                                                                         \
    statement;                                                                            \
  })

}  // namespace

TEST_CASE("sizes that make no problem are refused") {
  for (const Loss loss : kLosses) {
    REFUSES(loss, problem.struct_size = 0);
    REFUSES(loss, result.struct_size = 0);
    REFUSES(loss, problem.rows = 0);
    REFUSES(loss, problem.rows = -12);
    REFUSES(loss, problem.dim = 0);
    REFUSES(loss, problem.dim = -1);
    REFUSES(loss, problem.rows = INT64_MAX);
    REFUSES(loss, problem.dim = INT64_MAX / 2);
    REFUSES(loss, problem.grad_output_count = 7);
    REFUSES(loss, problem.grad_output_count = -1);
  }
  for (const Loss loss : {Loss::kNtXentFirst, Loss::kNtXentAll}) {
    REFUSES(loss, problem.views = 0);
    REFUSES(loss, problem.views = 1);
    REFUSES(loss, problem.views = 5);
    REFUSES(loss, problem.views = -2);
  }
  for (const Loss loss : {Loss::kInfoNceUnpaired, Loss::kInfoNcePaired}) {
    REFUSES(loss, problem.negative_rows = 0);
    REFUSES(loss, problem.negative_rows = -3);
    REFUSES(loss, problem.negative_rows = INT64_MAX);
  }
}

TEST_CASE("types and places that are unknown are refused") {
  for (const Loss loss : kLosses) {
    REFUSES(loss, problem.anchors_type = 3);
    REFUSES(loss, problem.keys_type = -1);
    REFUSES(loss, problem.negatives_type = 3);
    REFUSES(loss, problem.on_device = INFONCE_ARRAY_ALL + 1);
  }
}

TEST_CASE("missing arrays are refused") {
  for (const Loss loss : kLosses) {
    REFUSES(loss, problem.anchors = nullptr);
    REFUSES(loss, problem.grad_output = nullptr);
    REFUSES(loss, result.row_loss = nullptr);
    REFUSES(loss, result.grad_anchors = nullptr);
  }
  for (const Loss loss : {Loss::kInfoNceInBatch, Loss::kInfoNceUnpaired, Loss::kInfoNcePaired, Loss::kClip}) {
    REFUSES(loss, problem.keys = nullptr);
    REFUSES(loss, result.grad_keys = nullptr);
  }
  for (const Loss loss : {Loss::kInfoNceUnpaired, Loss::kInfoNcePaired}) {
    REFUSES(loss, problem.negatives = nullptr);
  }
  REFUSES(Loss::kSupCon, problem.labels = nullptr);
}

TEST_CASE("rules that are unknown or do not go together are refused") {
  for (const Loss loss : kLosses) {
    REFUSES(loss, problem.denominator = 4);
    REFUSES(loss, problem.denominator = -1);
    REFUSES(loss, problem.positive = 4);
    REFUSES(loss, problem.positive = -1);
    REFUSES(loss, problem.reduction = 3);
    REFUSES(loss, problem.reduction = -1);
  }
  REFUSES(Loss::kNtXentFirst, problem.positive = INFONCE_POSITIVE_SAME_INDEX);
  REFUSES(Loss::kInfoNceInBatch, problem.positive = INFONCE_POSITIVE_FIRST_VIEW);
  REFUSES(Loss::kInfoNceUnpaired, problem.positive = INFONCE_POSITIVE_SAME_LABEL);
  REFUSES(Loss::kNtXentFirst, problem.both_directions = 1);
  REFUSES(Loss::kInfoNceUnpaired, problem.both_directions = 1);
}

TEST_CASE("a context that cannot be made is refused") {
  infonce_context_options options{};
  options.struct_size = sizeof(options);
  options.trace = 1;
  const auto check = [&options](infonce_status expected) {
    infonce_context *context = nullptr;
    infonce_failure failure = empty_failure();
    CHECK(backend().context_create(&options, &context, &failure) == expected);
    CHECK(context == nullptr);
    CHECK(std::string(failure.message) != "");
  };
  if (on_cpu()) {
    options.threads = -1;
    check(INFONCE_INVALID_ARGUMENT);
  }
  options.threads = 1;
  options.precision = 3;
  check(INFONCE_INVALID_ARGUMENT);
  options.precision = INFONCE_PRECISION_HIGHEST;
  options.instruction_set = "mmx";
  check(INFONCE_DEVICE_UNAVAILABLE);
}

}  // namespace infonce::test

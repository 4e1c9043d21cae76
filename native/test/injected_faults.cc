// With a library in which the environment makes launches or copies fail, or kernels find their call cancelled.
#include <doctest/doctest.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
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

#if !defined(_WIN32)
constexpr const char *kOfSm80 = "statistics", *kOfSm90 = "statistics (sm90)";

std::string capability_of_device() { return device_info().capability; }

struct Size {
  Loss loss;
  int64_t rows;
  int64_t dim = 1;
  int64_t negative_rows = 0;
};

// The name of the kernel that a context would compute the statistics with: its launch fails, and the failure names it.
std::string kernel_of_statistics(const std::string &instruction_set, infonce_precision precision, const Size &size) {
  Settings settings;
  settings.loss = size.loss;
  settings.rows = size.rows;
  settings.dim = size.dim;
  settings.negative_rows = size.negative_rows;
  settings.gradient = false;
  const Case problem(settings);
  const Context context(instruction_set, precision, 1);
  Output output(problem);
  infonce_failure failure = empty_failure();
  setenv("INFONCE_FAIL_KERNEL", "statistics", 1);
  const infonce_status status = context.run(problem.problem, output.result, failure);
  unsetenv("INFONCE_FAIL_KERNEL");
  check_lost(status, failure);
  const std::string message = failure.message;
  const size_t begin = message.find("statistics");
  return begin == std::string::npos ? message : message.substr(begin, message.find(':', begin) - begin);
}
#endif

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
TEST_CASE("thread blocks of a cancelled call return at once, and the next call is correct" *
          doctest::skip(std::getenv("INFONCE_FAULT") || std::getenv("INFONCE_OLD_DRIVER"))) {
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

TEST_CASE("the kernels for compute capability 9.0 take large problems by themselves" *
          doctest::skip(std::getenv("INFONCE_FAULT") || std::getenv("INFONCE_OLD_DRIVER"))) {
  if (capability_of_device() != "9.0") {
    MESSAGE("this device has another");
    return;
  }
  CHECK(every_instruction_set() == std::vector<std::string>{"sm90", "sm80"});
  for (const auto precision : {INFONCE_PRECISION_HIGHEST, INFONCE_PRECISION_HIGH, INFONCE_PRECISION_MEDIUM}) {
    CAPTURE(precision);
    // On both sides of N * M = 2048 * 2048.
    CHECK(kernel_of_statistics("", precision, {Loss::kNtXentFirst, 300}) == kOfSm80);
    CHECK(kernel_of_statistics("", precision, {Loss::kNtXentFirst, 2046}) == kOfSm80);
    CHECK(kernel_of_statistics("", precision, {Loss::kNtXentFirst, 2048}) == kOfSm90);
    CHECK(kernel_of_statistics("", precision, {Loss::kClip, 2047}) == kOfSm80);
    CHECK(kernel_of_statistics("", precision, {Loss::kClip, 2048}) == kOfSm90);
    CHECK(kernel_of_statistics("", precision, {Loss::kInfoNceUnpaired, 512, 1, 8191}) == kOfSm80);
    CHECK(kernel_of_statistics("", precision, {Loss::kInfoNceUnpaired, 512, 1, 8192}) == kOfSm90);
    // By name they take every shape.
    CHECK(kernel_of_statistics("sm90", precision, {Loss::kNtXentFirst, 2}) == kOfSm90);
    CHECK(kernel_of_statistics("sm80", precision, {Loss::kNtXentFirst, 2048}) == kOfSm80);
  }
}

TEST_CASE("a driver without tensor maps leaves the portable kernels and a note" *
          doctest::skip(!std::getenv("INFONCE_OLD_DRIVER"))) {
  const std::string reason = capability_of_device() == "9.0" ? "cuTensorMapEncodeTiled" : "";
  const infonce_device_info info = device_info();
  CHECK(std::string(info.instruction_set) == "sm80");
  CHECK(instruction_sets_of(info) == std::vector<std::string>{"sm80"});
  CHECK((*info.note != '\0') == !reason.empty());
  CHECK(std::strstr(info.note, reason.c_str()) != nullptr);

  infonce_context_options options{};
  options.struct_size = sizeof(options);
  options.trace = 1;
  options.instruction_set = "sm90";
  infonce_context *forced = nullptr;
  infonce_failure failure = empty_failure();
  CHECK(backend().context_create(&options, &forced, &failure) == INFONCE_DEVICE_UNAVAILABLE);
  CHECK(forced == nullptr);
  CHECK(std::strstr(failure.message, "the kernels 'sm90' cannot be used") != nullptr);
  CHECK(std::strstr(failure.message, reason.c_str()) != nullptr);

  CHECK(kernel_of_statistics("", INFONCE_PRECISION_MEDIUM, {Loss::kNtXentFirst, 2048}) == kOfSm80);
  const Case problem(settings_of(Loss::kNtXentFirst, 0.1));
  Output output(problem);
  CHECK(Context("", INFONCE_PRECISION_HIGHEST, 1).run(problem.problem, output.result, failure) == INFONCE_OK);
}
#endif

}  // namespace infonce::test

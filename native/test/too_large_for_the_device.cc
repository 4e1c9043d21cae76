#include <doctest/doctest.h>

#include <cstdio>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "test/case.h"
#include "test/context.h"

namespace infonce::test {

#if defined(__linux__)

namespace {

constexpr int64_t kRows = int64_t(1) << 20;
constexpr int64_t kDim = int64_t(1) << 15;

// 128 GiB of zeros that take no memory as long as they are only read.
class Zeros {
 public:
  Zeros() : memory_(mmap(nullptr, kSize, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) {}
  ~Zeros() {
    if (exist()) {
      munmap(memory_, kSize);
    }
  }
  Zeros(const Zeros &) = delete;
  Zeros &operator=(const Zeros &) = delete;

  bool exist() const { return memory_ != MAP_FAILED; }
  const float *data() const { return static_cast<const float *>(memory_); }

 private:
  static constexpr size_t kSize = size_t(kRows) * kDim * sizeof(float);
  void *memory_;
};

// What is needed and what is left, in MiB.
void check_figures(const infonce_failure &failure) {
  double needed = 0;
  double available = 0;
  const int found = std::sscanf(failure.message, "the call needs %lf MiB of working memory, and %lf MiB are left",
                                &needed, &available);
  CHECK_MESSAGE(found == 2, failure.message);
  CHECK(needed > available);
  CHECK(available > 0);
}

// Takes memory of the context's device until less than `left` bytes can be had.
class Ballast {
 public:
  Ballast(const Context &context, int64_t left) : context_(context.handle()) {
    constexpr int64_t kLargest = int64_t(1) << 40;
    for (int64_t bytes = kLargest; bytes >= left; bytes /= 2) {
      void *memory = nullptr;
      infonce_failure failure = empty_failure();
      while (backend().allocate(context_, bytes, &memory, &failure) == INFONCE_OK) {
        memory_.push_back(memory);
      }
    }
  }
  ~Ballast() {
    for (void *memory : memory_) {
      backend().release(context_, memory);
    }
  }
  Ballast(const Ballast &) = delete;
  Ballast &operator=(const Ballast &) = delete;

 private:
  infonce_context *context_;
  std::vector<void *> memory_;
};

}  // namespace

TEST_CASE("a problem beyond the device's memory fails, and the context stays usable") {
  const Zeros zeros;
  if (!zeros.exist()) {
    MESSAGE("this system does not give out so many addresses");
    return;
  }
  Settings settings;
  settings.loss = Loss::kInfoNceInBatch;
  settings.rows = 20;
  settings.dim = 8;
  settings.gradient = false;
  const Case good(settings);
  Output output(good);
  infonce_problem large = good.problem;
  large.dim = kDim;
  for (int m = 0; m < large.matrix_count; ++m) {
    large.matrices[m].rows = kRows;
    large.matrices[m].data = zeros.data();
  }

  const Context context(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 1);
  infonce_failure failure = empty_failure();
  CHECK(context.run(large, output.result, failure) == INFONCE_OUT_OF_MEMORY);
  check_figures(failure);
  CHECK_MESSAGE(context.run(good.problem, output.result, failure) == INFONCE_OK, failure.message);
}

TEST_CASE("a call without memory beside another in flight succeeds after that has ended" *
          doctest::skip(!has_begin_and_end())) {
  constexpr int64_t kLeft = int64_t(1) << 20;
  Settings settings;
  settings.loss = Loss::kNtXentFirst;
  settings.rows = 400;
  settings.dim = simulated() ? 300 : 3000;  // takes more than what is left
  const Case large(settings);
  Output expected(large);
  infonce_failure failure = empty_failure();
  {
    const Context context(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 1);
    REQUIRE_MESSAGE(context.run(large.problem, expected.result, failure) == INFONCE_OK, failure.message);
  }

  const Context context(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 1);
  Output first(large);
  Output second(large);
  REQUIRE(context.run(large.problem, first.result, failure) == INFONCE_OK);  // leaves memory with the context
  const Context other(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 1);
  const Ballast ballast(other, kLeft);
  infonce_call *call = nullptr;
  infonce_call *refused = nullptr;
  REQUIRE(backend().begin(context.handle(), &large.problem, &first.result, &call, &failure) == INFONCE_OK);
  CHECK(backend().begin(context.handle(), &large.problem, &second.result, &refused, &failure) == INFONCE_OUT_OF_MEMORY);
  check_figures(failure);
  CHECK(refused == nullptr);
  CHECK(backend().end(context.handle(), call, &failure) == INFONCE_OK);
  CHECK(identical(first, expected));
  CHECK(backend().begin(context.handle(), &large.problem, &second.result, &call, &failure) == INFONCE_OK);
  CHECK(backend().end(context.handle(), call, &failure) == INFONCE_OK);
  CHECK(identical(second, expected));
}

TEST_CASE("memory of idle lanes is free for other calls and for arrays" * doctest::skip(!has_begin_and_end())) {
  Settings settings;
  settings.loss = Loss::kClip;
  settings.rows = 300;
  settings.dim = simulated() ? 300 : 3000;
  const Case problem(settings);
  const Context context(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 1);
  Output outputs[] = {Output(problem), Output(problem)};
  infonce_call *calls[2];
  infonce_failure failure = empty_failure();
  for (int i = 0; i < 2; ++i) {
    REQUIRE(backend().begin(context.handle(), &problem.problem, &outputs[i].result, &calls[i], &failure) == INFONCE_OK);
  }
  for (infonce_call *call : calls) {
    REQUIRE(backend().end(context.handle(), call, &failure) == INFONCE_OK);
  }
  infonce_memory_needs needs{};
  needs.struct_size = sizeof(needs);
  REQUIRE(backend().memory_required(context.handle(), &problem.problem, &needs, &failure) == INFONCE_OK);
  // More than is free without what the two lanes hold.
  void *memory = nullptr;
  const int64_t bytes = needs.available - needs.device;
  CHECK_MESSAGE(backend().allocate(context.handle(), bytes, &memory, &failure) == INFONCE_OK, failure.message);
  backend().release(context.handle(), memory);
  CHECK(context.run(problem.problem, outputs[0].result, failure) == INFONCE_OK);
  CHECK(identical(outputs[0], outputs[1]));
}

#endif

}  // namespace infonce::test

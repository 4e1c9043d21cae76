// `trim` frees what a context keeps for later calls, and nothing else.
#include <doctest/doctest.h>

#include <cstdint>

#include "test/case.h"
#include "test/context.h"

namespace infonce::test {

namespace {

Settings settings_of(Loss loss) { return {loss, 210, 24, 30}; }

Context make_context() { return {instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 2}; }

int64_t trim(const Context &context) {
  int64_t freed = -1;
  infonce_failure failure = empty_failure();
  REQUIRE_MESSAGE(backend().trim(context.handle(), &freed, &failure) == INFONCE_OK, failure.message);
  REQUIRE(freed >= 0);
  return freed;
}

}  // namespace

TEST_CASE("the first trim after a call frees memory, the second none, and the next call has the same bits") {
  const Context context = make_context();
  trim(context);
  CHECK(trim(context) == 0);
  for (const Loss loss : kLosses) {
    const Case problem(settings_of(loss));
    INFO(describe(problem.settings));
    const Output expected = run(context, problem);
    CHECK(trim(context) > 0);
    CHECK(trim(context) == 0);
    CHECK(identical(run(context, problem), expected));
  }
}

TEST_CASE("trim keeps allocated arrays and saved states") {
  const Context context = make_context();
  for (const Loss loss : kLosses) {
    const Case problem(settings_of(loss));
    INFO(describe(problem.settings));
    const Output expected = run(context, problem);
    infonce_failure failure = empty_failure();
    const Buffer<float> &anchors = problem.matrices[kAnchors];
    const auto bytes = static_cast<int64_t>(anchors.size() * sizeof(float));
    void *memory = nullptr;
    REQUIRE(backend().allocate(context.handle(), bytes, &memory, &failure) == INFONCE_OK);
    REQUIRE(backend().copy(context.handle(), memory, anchors.data(), bytes, INFONCE_COPY_TO_DEVICE, &failure) ==
            INFONCE_OK);
    infonce_problem there = problem.problem;
    there.matrices[kAnchors].data = memory;
    there.matrices[kAnchors].residence = INFONCE_ON_DEVICE;
    Output got(problem);
    infonce_saved *saved = nullptr;
    REQUIRE(backend().forward(context.handle(), &there, &got.result, &saved, &failure) == INFONCE_OK);
    trim(context);
    infonce_upstream upstream{};
    upstream.struct_size = sizeof(upstream);
    CHECK(backend().backward(context.handle(), saved, &upstream, &got.result, &failure) == INFONCE_OK);
    CHECK(identical(got, expected));
    trim(context);
    Output again(problem);
    CHECK(context.run(there, again.result, failure) == INFONCE_OK);
    CHECK(identical(again, expected));
    backend().saved_destroy(context.handle(), saved);
    backend().release(context.handle(), memory);
  }
}

TEST_CASE("trim keeps the memory of calls in flight" * doctest::skip(!has_begin_and_end())) {
  const Context context = make_context();
  const Case problem(settings_of(Loss::kNtXentAll));
  const Output expected = run(context, problem);
  infonce_failure failure = empty_failure();
  Output first(problem);
  Output second(problem);
  infonce_call *calls[2] = {};
  REQUIRE(backend().begin(context.handle(), &problem.problem, &first.result, &calls[0], &failure) == INFONCE_OK);
  trim(context);
  REQUIRE(backend().begin(context.handle(), &problem.problem, &second.result, &calls[1], &failure) == INFONCE_OK);
  trim(context);
  CHECK(backend().end(context.handle(), calls[0], &failure) == INFONCE_OK);
  trim(context);
  CHECK(backend().end(context.handle(), calls[1], &failure) == INFONCE_OK);
  CHECK(identical(first, expected));
  CHECK(identical(second, expected));
}

}  // namespace infonce::test

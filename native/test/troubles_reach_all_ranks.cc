// What goes wrong on one rank in the middle of a step ends it on all, within a pass; nothing waits for ever.
#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "common/call.h"
#include "test/backend.h"
#include "test/context.h"
#include "test/forms.h"
#include "test/group.h"
#include "test/troubled_transport.h"

namespace infonce::test {

namespace {

constexpr int kNever = std::numeric_limits<int>::max();
constexpr size_t kLarge = 1100;  // bytes of an array; those of two ranks' agreements have fewer
// Of this thread: large arrays that are still to be had.
thread_local int arrays_left = kNever;

}  // namespace

}  // namespace infonce::test

// All forms, since sanitizers have their own of each.
void *operator new(size_t bytes) {
  using infonce::test::arrays_left;
  const bool is_counted = bytes >= infonce::test::kLarge && arrays_left != infonce::test::kNever;
  if (is_counted && arrays_left-- <= 0) throw std::bad_alloc();
  if (void *memory = std::malloc(bytes)) return memory;
  throw std::bad_alloc();
}
void *operator new[](size_t bytes) { return ::operator new(bytes); }
void *operator new(size_t bytes, const std::nothrow_t &) noexcept {
  try {
    return ::operator new(bytes);
  } catch (const std::bad_alloc &) {
    return nullptr;
  }
}
void *operator new[](size_t bytes, const std::nothrow_t &) noexcept { return ::operator new(bytes, std::nothrow); }
void operator delete(void *memory) noexcept { std::free(memory); }
void operator delete(void *memory, size_t) noexcept { std::free(memory); }
void operator delete(void *memory, const std::nothrow_t &) noexcept { std::free(memory); }
void operator delete[](void *memory) noexcept { std::free(memory); }
void operator delete[](void *memory, size_t) noexcept { std::free(memory); }
void operator delete[](void *memory, const std::nothrow_t &) noexcept { std::free(memory); }

namespace infonce::test {

namespace {

using group::Gradients;
using group::Group;
using group::Lost;
using group::PeerFailed;

// What a backend does of a call over ranks.
enum Function { kOpen, kAdd, kReadRows, kJoinRows, kClose, kOpenGradient, kAddGradient, kCloseGradient, kFunctions };
constexpr const char *kNames[] = {"open",  "add",           "read_rows",    "join_rows",
                                  "close", "open_gradient", "add_gradient", "close_gradient"};

// Of this thread: how often each was called, and which call fails, or is cancelled.
struct Calls {
  std::array<int, kFunctions> count{};
  int failing = -1, from = 0;
  int32_t *cancel = nullptr;
};
thread_local Calls calls;

template <Function kFunction, auto kMember, class... Arguments>
infonce_status counted(infonce_context *context, Arguments... arguments, infonce_failure *failure) {
  const int number = calls.count[kFunction]++;
  if (calls.failing == kFunction && number == calls.from) {
    if (!calls.cancel) return fail(failure, INFONCE_OUT_OF_MEMORY, INFONCE_NO_MATRIX, -1, "the memory is full");
    *calls.cancel = 1;
  }
  return (backend().*kMember)(context, arguments..., failure);
}

const infonce_backend &counting_backend() {
  static const infonce_backend table = [] {
    using Saved = infonce_saved *;
    infonce_backend counting = backend();
    counting.open = counted<kOpen, &infonce_backend::open, const infonce_problem *, infonce_saved **>;
    counting.add = counted<kAdd, &infonce_backend::add, Saved, const infonce_part *>;
    counting.read_rows =
        counted<kReadRows, &infonce_backend::read_rows, Saved, int32_t, const infonce_travelling_rows *>;
    counting.join_rows =
        counted<kJoinRows, &infonce_backend::join_rows, Saved, int32_t, const infonce_travelling_rows *>;
    counting.close = counted<kClose, &infonce_backend::close, Saved, infonce_result *>;
    counting.open_gradient = counted<kOpenGradient, &infonce_backend::open_gradient, Saved, const infonce_upstream *>;
    counting.add_gradient =
        counted<kAddGradient, &infonce_backend::add_gradient, Saved, const infonce_part *, const infonce_output *>;
    counting.close_gradient = counted<kCloseGradient, &infonce_backend::close_gradient, Saved, infonce_result *>;
    return counting;
  }();
  return table;
}

Context make_context() { return {instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 1}; }

// Of two towers, both directions, with further candidates: all functions are called.
Inputs whole_problem() {
  Form form;
  form.rows = form.keys = 9;
  form.dim = 5;
  form.both_directions = true;
  form.further = {7};
  return inputs_of(form);
}

struct Came {
  infonce_status status = INFONCE_OK;
  std::string message;  // of PeerFailed or Lost
  infonce_scalars scalars{};
  bool lacked_memory = false;
};

// `arrays`: large ones that the call finds memory for.
Came call(Group &group, const Context &context, const Inputs &inputs, int arrays = kNever) {
  Output output(inputs);
  infonce_failure failure = empty_failure();
  Came came;
  arrays_left = arrays;
  try {
    came.status = group.run(group.take_turn(), counting_backend(), context.handle(), inputs.problem, Gradients::kSum,
                            &output.result, &failure);
    came.message = failure.message;
    came.scalars = output.result.scalars;
  } catch (const PeerFailed &peer) {
    came.status = INFONCE_INTERNAL;
    came.message = peer.what();
  }
  came.lacked_memory = arrays_left < 0;
  arrays_left = kNever;
  return came;
}

std::string why_lost(Group &group, const Context &context, const Inputs &inputs) {
  try {
    call(group, context, inputs);
  } catch (const Lost &lost) {
    return lost.what();
  }
  return "";
}

bool contains(const std::string &text, const std::string &part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("a fault in the middle of a pass is told to all ranks before it ends, and the group goes on") {
  constexpr int kSize = 4, kFailing = 1;
  const Inputs whole = whole_problem();
  const std::vector<Share> shares = even_shares(whole, kSize);
  on_ranks(kSize, [&](Group &group) {
    const int rank = group.transport().rank();
    const Context context = make_context();
    const Inputs inputs = inputs_of(whole, shares[size_t(rank)]);
    calls = {};
    const Came expected = call(group, context, inputs);
    REQUIRE(expected.status == INFONCE_OK);
    const std::array<int, kFunctions> all = calls.count;
    for (int function = 0; function < kFunctions; ++function) {
      REQUIRE(all[size_t(function)] > 0);
      for (const int from : {0, all[size_t(function)] - 1}) {
        CAPTURE(kNames[function]);
        CAPTURE(from);
        calls = {};
        if (rank == kFailing) calls.failing = function, calls.from = from;
        const Came came = call(group, context, inputs);
        if (rank == kFailing) CHECK((came.status == INFONCE_OUT_OF_MEMORY && came.message == "the memory is full"));
        else CHECK(came.message == "rank 1 of 4: the memory is full");
        // Nobody begins the next pass; the rank does nothing more, nor does the next one once it has heard of it.
        const bool of_gradient = function >= kOpenGradient || (function == kReadRows && from > 0);
        if (!of_gradient) CHECK(calls.count[kOpenGradient] == 0);
        if (rank == kFailing) CHECK(calls.count[size_t(function)] == from + 1);
        if (rank == kFailing + 1 && from == 0 && (function == kAdd || function == kAddGradient))
          CHECK(calls.count[size_t(function)] < all[size_t(function)]);
        calls = {};
        const Came again = call(group, context, inputs);
        CHECK((again.status == INFONCE_OK && again.scalars.loss == expected.scalars.loss));
      }
    }
  });
}

TEST_CASE("a call that one rank cancels in the middle of a pass ends on all") {
  const Inputs whole = whole_problem();
  const std::vector<Share> shares = even_shares(whole, 3);
  on_ranks(3, [&](Group &group) {
    const int rank = group.transport().rank();
    const Context context = make_context();
    Inputs inputs = inputs_of(whole, shares[size_t(rank)]);
    int32_t cancelled = 0;
    inputs.problem.cancelled = &cancelled;
    for (const Function function : {kAdd, kAddGradient}) {
      calls = {};
      if (rank == 2) calls.failing = function, calls.from = 1, calls.cancel = &cancelled;
      const Came came = call(group, context, inputs);
      if (rank == 2) CHECK(came.status == INFONCE_CANCELLED);
      else CHECK(came.message == "rank 2 of 3: the call was cancelled");
      cancelled = 0;
      calls = {};
      CHECK(call(group, context, inputs).status == INFONCE_OK);
    }
  });
}

namespace {

// How often a rank may lack memory in a call, each time for another array.
int lacks_of_memory(const Inputs &whole) {
  const std::vector<Share> shares = even_shares(whole, 2);
  int lacks = 0;
  for (std::atomic<bool> goes_well{false}; !goes_well; ++lacks) {
    // A group that has kept none of an earlier step.
    on_ranks(2, [&](Group &group) {
      const int rank = group.transport().rank();
      const Context context = make_context();
      const Inputs inputs = inputs_of(whole, shares[size_t(rank)]);
      const Came came = call(group, context, inputs, rank == 1 ? lacks : kNever);
      if (rank == 1 && !came.lacked_memory) goes_well = true;
      // Or it does without, as a sort may.
      if (came.status != INFONCE_OK && rank == 1) CHECK(came.status == INFONCE_OUT_OF_MEMORY);
      if (came.status != INFONCE_OK && rank == 0)
        CHECK(came.message == "rank 1 of 2: not enough memory for the call's workspace");
      CHECK(call(group, context, inputs).status == INFONCE_OK);
    });
  }
  return lacks;
}

}  // namespace

TEST_CASE("a rank that lacks memory anywhere in a call tells the others, and the group goes on") {
  Form form;
  form.rows = form.keys = 560;
  form.dim = 5;
  CHECK(lacks_of_memory(inputs_of(form)) > 5);
}

TEST_CASE("so does one whose rows have positives elsewhere" * doctest::skip(!on_cpu())) {
  Form form;
  form.rows = 560;
  form.keys = 600;
  form.dim = 5;
  form.positive = INFONCE_POSITIVE_TARGET;
  form.ids = 90;
  CHECK(lacks_of_memory(inputs_of(form)) > 20);
  form = {};
  form.positive = INFONCE_POSITIVE_SAME_ID;
  form.rows = form.memory = 560;
  form.dim = 5;
  Inputs labels = inputs_of(form);
  for (const auto row_loss : {INFONCE_ROW_LOSS_CROSS_ENTROPY, INFONCE_ROW_LOSS_POSITIVE_AND_NEGATIVES}) {
    labels.problem.softmaxes[0].row_loss = row_loss;
    CHECK(lacks_of_memory(labels) > 20);
  }
}

TEST_CASE("a rank without memory for a reduction tells the others") {
  on_ranks(2, [&](Group &group) {
    std::vector<double> numbers(2000, 1);
    const auto reduce = [&] { group.all_reduce(group.take_turn(), {{numbers.data(), 2000, true}}, false); };
    if (group.transport().rank() == 1) {
      arrays_left = 0;
      CHECK_THROWS_AS(reduce(), std::bad_alloc);
      arrays_left = kNever;
    } else {
      CHECK_THROWS_WITH_AS(reduce(), "rank 1 of 2: not enough memory for allReduce", PeerFailed);
    }
    CHECK(numbers[1999] == 1);
    reduce();
    CHECK(numbers[1999] == 2);
  });
}

TEST_CASE("messages that start late change no bit") {
  for (const uint32_t seed : {1u, 2u, 3u}) {
    Form form;
    form.seed = seed;
    form.rows = form.keys = 20;
    form.dim = 6;
    if (seed == 3) form.positive = INFONCE_POSITIVE_ALL_VIEWS, form.views = 2, form.keys = 0;
    else form.both_directions = seed == 2, form.further = {9};
    const Inputs whole = inputs_of(form);
    for (const int size : {2, 3, 4}) {
      const std::vector<Share> shares = random_shares(whole, size, seed);
      std::vector<std::unique_ptr<Context>> owned;
      std::vector<const Context *> contexts;
      for (int rank = 0; rank < size; ++rank) {
        owned.push_back(std::make_unique<Context>(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 1));
        contexts.push_back(owned.back().get());
      }
      const Output expected = run_on_ranks(contexts, whole, shares);
      std::vector<Troubles> troubles(static_cast<size_t>(size));
      for (Troubles &each : troubles) each.most_late = 5;
      CHECK(identical(run_on_ranks(contexts, whole, shares, Gradients::kSum, false, with(troubles)), expected));
    }
  }
}

TEST_CASE("a link that is cut ends the step on all ranks in time, and so does a library that fails") {
  const Inputs whole = whole_problem();
  const std::vector<Share> shares = even_shares(whole, 3);
  // What each of the ranks is told of the end; whether there was one.
  const auto ends = [&](std::vector<Troubles> troubles, double patience) {
    std::atomic<bool> any{false};
    const auto body = [&](Group &group) {
      const auto rank = size_t(group.transport().rank());
      const Context context = make_context();
      const std::string why = why_lost(group, context, inputs_of(whole, shares[rank]));
      if (why.empty()) return;
      any = true;
      CAPTURE(why);
      const bool failed = why == "the library failed";
      CHECK((failed ? rank == 1 : contains(why, "not come for 0.3 s") || contains(why, " left")));
      CHECK_THROWS_WITH_AS(group.barrier(group.take_turn()), why.c_str(), Lost);
    };
    on_ranks(3, body, patience, with(troubles));
    return any.load();
  };
  std::vector<Troubles> troubles(3);
  for (const int messages : {0, 2, 7, 12}) {
    troubles[1].until_cut = messages;
    CHECK(ends(troubles, 0.3));
  }
  troubles[1].until_cut = kNever;
  for (int messages = 0; troubles[1].until_failure = messages, ends(troubles, 60); ++messages) CHECK(messages < 100);
  CHECK(troubles[1].until_failure > 12);
}

}  // namespace infonce::test

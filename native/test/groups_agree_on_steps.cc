// Ranks that do not agree are told so, and the group goes on.
#include <doctest/doctest.h>

#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "group/local_transport.h"
#include "test/backend.h"
#include "test/context.h"
#include "test/forms.h"
#include "test/group.h"

namespace infonce::test {

namespace {

using group::Group;
using group::Lost;
using group::PeerFailed;

Inputs small_inputs() {
  Form form;
  form.rows = form.keys = 6;
  form.dim = 4;
  return inputs_of(form);
}

Context make_context() { return {instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 1}; }

infonce_status run(Group &group, const Context &context, const Inputs &inputs, infonce_failure *failure = nullptr) {
  Output output(inputs);
  return group.run(group.take_turn(), backend(), context.handle(), inputs.problem, group::Gradients::kSum,
                   &output.result, failure);
}

// What PeerFailed says; else the status that comes back.
template <class Body> std::string told(Body &&body) {
  try {
    return "status " + std::to_string(body());
  } catch (const PeerFailed &failure) {
    return failure.what();
  }
}

std::string status(infonce_status status) { return "status " + std::to_string(status); }

bool contains(const std::string &text, const std::string &part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("sums over ranks are the same bits on each, in the order of ranks") {
  constexpr int kSize = 4;
  std::vector<std::vector<float>> floats(kSize);
  std::vector<std::vector<double>> doubles(kSize);
  on_ranks(kSize, [&](Group &group) {
    const auto rank = size_t(group.transport().rank());
    for (int i = 0; i < 13; ++i) floats[rank].push_back(float(i + 1) / float(rank + 3));
    doubles[rank] = {1e16, rank == 0 ? 1. : -1e16 / 3};
    std::vector<float> more = {float(rank)};
    group.all_reduce(group.take_turn(),
                     {{floats[rank].data(), 13, false}, {doubles[rank].data(), 2, true}, {more.data(), 1, false}},
                     false);
    CHECK(more[0] == 6);
  });
  for (int i = 0; i < 13; ++i) {
    double sum = 0;
    for (int rank = 0; rank < kSize; ++rank) sum += double(float(i + 1) / float(rank + 3));
    for (int rank = 0; rank < kSize; ++rank) CHECK(floats[size_t(rank)][size_t(i)] == float(sum));
  }
  for (const std::vector<double> &each : doubles) CHECK(each == doubles[0]);
  on_ranks(3, [&](Group &group) {
    double value = group.transport().rank();
    group.all_reduce(group.take_turn(), {{&value, 1, true}}, true);
    CHECK(value == 1);
  });
}

TEST_CASE("a rank with bad input has its own error, the others are told, and the group goes on") {
  on_ranks(3, [&](Group &group) {
    const bool is_bad = group.transport().rank() == 1;
    const Context context = make_context();
    Inputs inputs = small_inputs();
    const float good = inputs.matrices[1].data()[9];
    if (is_bad) inputs.matrices[1].data()[9] = std::numeric_limits<float>::quiet_NaN();
    infonce_failure failure = empty_failure();
    const std::string message = told([&] { return run(group, context, inputs, &failure); });
    if (is_bad) CHECK((message == status(INFONCE_NON_FINITE) && failure.matrix == 1 && failure.row == 2));
    else CHECK(contains(message, "rank 1 of 3: row 2 of the input holds NaN"));
    inputs.matrices[1].data()[9] = good;
    CHECK(run(group, context, inputs) == INFONCE_OK);

    // One that no backend takes.
    if (is_bad) inputs.problem.dim = 0;
    const std::string refused = told([&] { return run(group, context, inputs); });
    if (is_bad) CHECK(refused == status(INFONCE_INVALID_ARGUMENT));
    else CHECK(contains(refused, "rank 1 of 3: dim is out of range"));
    inputs.problem.dim = 4;
    CHECK(run(group, context, inputs) == INFONCE_OK);

    // And one that its caller has found out.
    if (is_bad) group.decline(group.take_turn(), "temperature: expected a positive number");
    else CHECK(contains(told([&] { return run(group, context, inputs); }), "temperature: expected"));
    CHECK(run(group, context, inputs) == INFONCE_OK);
  });
}

TEST_CASE("what the backend of a rank does not take in parts is refused before anything moves") {
  on_ranks(2, [&](Group &group) {
    const bool cannot = group.transport().rank() == 1;
    const Context context = make_context();
    const Inputs inputs = small_inputs();
    infonce_backend other = backend();
    if (cannot) other.why_no_parts = [](const infonce_problem *) { return "no parts here"; };
    other.open = [](infonce_context *, const infonce_problem *, infonce_saved **, infonce_failure *) {
      return INFONCE_INTERNAL;
    };
    const std::string refused = told([&] {
      Output output(inputs);
      infonce_failure failure = empty_failure();
      const infonce_status status = group.run(group.take_turn(), other, context.handle(), inputs.problem,
                                              group::Gradients::kSum, &output.result, &failure);
      if (cannot) CHECK(std::string(failure.message) == "no parts here");
      return status;
    });
    if (cannot) CHECK(refused == status(INFONCE_INVALID_ARGUMENT));
    else CHECK(contains(refused, "rank 1 of 2: no parts here"));
    CHECK(run(group, context, inputs) == INFONCE_OK);
  });
}

namespace {
std::atomic<int> lent{0}, all_lent{0};
}

TEST_CASE("rows travel in host memory of the device") {
  Form form = {};
  form.rows = form.keys = 200;
  form.dim = 300;
  const Inputs inputs = inputs_of(form);
  infonce_backend counting = backend();
  counting.host_device = [](infonce_context *) { return 0; };
  counting.host_allocate = [](int32_t device, int64_t bytes, void **memory, infonce_failure *failure) {
    ++lent, ++all_lent;
    return backend().host_allocate(device, bytes, memory, failure);
  };
  counting.host_release = [](void *memory) {
    --lent;
    backend().host_release(memory);
  };
  const auto body = [&](Group &group) {
    const Context context = make_context();
    const auto loss_by = [&](const infonce_backend &by) {
      Output output(inputs);
      CHECK(group.run(group.take_turn(), by, context.handle(), inputs.problem, group::Gradients::kSum, &output.result,
                      nullptr) == INFONCE_OK);
      return output.result.scalars.loss;
    };
    const double loss = loss_by(counting);
    group.barrier(group.take_turn());
    const int once = all_lent;
    CHECK(once >= 2 * 3);  // own rows, those that arrive, and gradients
    CHECK(loss_by(counting) == loss);
    group.barrier(group.take_turn());
    CHECK(all_lent == once);
    CHECK(loss_by(backend()) == loss);
  };
  // Where they do not stay on the device.
  on_ranks(2, body, 60, by_the_host);
  CHECK(lent == 0);
}

TEST_CASE("calls that do not go together are refused on all ranks") {
  on_ranks(2, [&](Group &group) {
    const bool is_other = group.transport().rank() == 1;
    const Context context = make_context();
    const Inputs inputs = small_inputs();
    const auto refused = [&](void (*change)(infonce_problem &)) {
      Inputs changed = small_inputs();
      if (is_other) change(changed.problem);
      return told([&] { return run(group, context, changed); });
    };
    CHECK(contains(refused([](infonce_problem &p) { p.scale = 9; }), "scale"));
    CHECK(contains(refused([](infonce_problem &p) { p.dim = 2; }), "rows of"));
    CHECK(contains(refused([](infonce_problem &p) { p.reduction = INFONCE_REDUCTION_SUM; }), "something else"));
    CHECK(contains(refused([](infonce_problem &p) { p.softmaxes[0].margin = 0.1; }), "something else"));
    CHECK(contains(told([&] {
                     if (!is_other) return run(group, context, inputs);
                     group.barrier(group.take_turn());
                     return INFONCE_OK;
                   }),
                   is_other ? "is at a loss where this rank is at a barrier" : "is at a barrier"));
    std::vector<float> numbers(is_other ? 3 : 4);
    CHECK(contains(told([&] {
                     group.all_reduce(group.take_turn(), {{numbers.data(), int64_t(numbers.size()), false}}, false);
                     return INFONCE_OK;
                   }),
                   "something else"));
    CHECK(run(group, context, inputs) == INFONCE_OK);
  });
}

TEST_CASE("a call that one rank cancels ends on all") {
  on_ranks(3, [&](Group &group) {
    const bool cancels = group.transport().rank() == 2;
    const Context context = make_context();
    Inputs inputs = small_inputs();
    int32_t cancelled = cancels;
    inputs.problem.cancelled = &cancelled;
    const std::string message = told([&] { return run(group, context, inputs); });
    if (cancels) CHECK(message == status(INFONCE_CANCELLED));
    else CHECK(contains(message, "rank 2 of 3: the call was cancelled"));
    cancelled = 0;
    CHECK(run(group, context, inputs) == INFONCE_OK);
  });
}

TEST_CASE("a rank that leaves is missed, and one that does not come is lost") {
  on_ranks(2, [&](Group &group) {
    group.barrier(group.take_turn());
    if (group.transport().rank() == 1) return group.leave();
    CHECK_THROWS_WITH_AS(group.barrier(group.take_turn()), "rank 1 of 2 left after 1 step", Lost);
    CHECK_THROWS_AS(group.barrier(group.take_turn()), Lost);
  });
  std::atomic<bool> is_lost{false};
  on_ranks(
      2,
      [&](Group &group) {
        if (group.transport().rank() == 1) return wait_for(is_lost);
        CHECK_THROWS_WITH_AS(group.barrier(group.take_turn()), "rank 1 has not come for 0.2 s", Lost);
        is_lost = true;
      },
      0.2);
}

TEST_CASE("several calls at once are one step") {
  on_ranks(2, [&](Group &group) {
    const Context context = make_context();
    const Inputs inputs = small_inputs();
    Output first(inputs), second(inputs);
    const std::vector<group::Asked> calls = {{&inputs.problem, &first.result}, {&inputs.problem, &second.result}};
    CHECK(group.run_several(group.take_turn(), backend(), context.handle(), calls, {1, 2}, group::Gradients::kSum,
                            nullptr) == INFONCE_OK);
    CHECK(first.result.scalars.loss == second.result.scalars.loss);
    if (group.transport().rank() == 1) return group.leave();
    CHECK_THROWS_WITH_AS(group.barrier(group.take_turn()), "rank 1 of 2 left after 1 step", Lost);
  });
}

TEST_CASE("steps are taken in the order of their turns") {
  on_ranks(2, [&](Group &group) {
    const int64_t first = group.take_turn(), second = group.take_turn(), third = group.take_turn();
    double value = 1, other = 10;
    std::thread later([&] { group.all_reduce(second, {{&other, 1, true}}, false); });
    group.all_reduce(first, {{&value, 1, true}}, false);
    later.join();
    CHECK((value == 2 && other == 20));
    group.barrier(third);
  });
}

TEST_CASE("a rank is taken once, and ranks that do not come are missed") {
  CHECK_THROWS_WITH_AS(group::join_local("nobody", 0, 2, 0.05), "1 of 2 ranks did not come", Lost);
  std::atomic<int> refused{0};
  const auto join_once = [&] {
    try {
      group::join_local("twice", 0, 2, 60);
    } catch (const std::invalid_argument &) {
      ++refused;
    }
  };
  std::thread first(join_once), second(join_once);
  // Whichever came second. The other one waits for rank 1.
  while (refused == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  CHECK_THROWS_AS(group::join_local("twice", 0, 2, 0.05), std::invalid_argument);
  CHECK_THROWS_AS(group::join_local("twice", 1, 3, 0.05), std::invalid_argument);
  group::join_local("twice", 1, 2, 60);
  first.join();
  second.join();
  CHECK(refused == 1);
}

}  // namespace infonce::test

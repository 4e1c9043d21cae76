// Calls that a backend captures itself, and repeats: what replays give, and what cannot be captured.
#include <cuda_runtime_api.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "test/cuda_arrays.h"
#include "test/graph_cases.h"

namespace infonce::test {

namespace {

class Repeated {
 public:
  Repeated(const Context &context, const infonce_problem &problem, const infonce_result &result) : context_(context) {
    status_ = backend().capture(context.handle(), &problem, &result, &graph_, &failure_);
  }
  ~Repeated() { backend().graph_destroy(context_.handle(), graph_); }
  Repeated(const Repeated &) = delete;
  Repeated &operator=(const Repeated &) = delete;

  infonce_call *begin(infonce_result &result) {
    infonce_call *call = nullptr;
    status_ = backend().replay(context_.handle(), graph_, nullptr, &result, &call, &failure_);
    return call;
  }
  infonce_status end(infonce_call *call) { return status_ = backend().end(context_.handle(), call, &failure_); }
  void replay(infonce_result &result) {
    infonce_call *const call = begin(result);
    REQUIRE_MESSAGE(call != nullptr, failure_.message);
    REQUIRE_MESSAGE(end(call) == INFONCE_OK, failure_.message);
  }

  infonce_status status() const { return status_; }
  const infonce_failure &failure() const { return failure_; }

 private:
  const Context &context_;
  infonce_graph *graph_ = nullptr;
  infonce_status status_;
  infonce_failure failure_ = empty_failure();
};

const Context &context_of(infonce_precision precision) {
  static const Context highest(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 0);
  static const Context medium(instruction_sets().front(), INFONCE_PRECISION_MEDIUM, 0);
  return precision == INFONCE_PRECISION_HIGHEST ? highest : medium;
}

void check_replays(const Settings &settings, infonce_precision precision) {
  const Context &context = context_of(precision);
  const Case problem(settings), other = with_other_numbers(problem);
  INFO(describe(settings));
  CAPTURE(precision);
  const Output expected = run(context, problem), expected_of_other = run(context, other);
  REQUIRE(!identical(expected, expected_of_other));

  DeviceCall call(problem);
  Repeated repeated(context, call.problem(), call.result());
  REQUIRE_MESSAGE(repeated.status() == INFONCE_OK, repeated.failure().message);
  CHECK(!identical(call.output(), expected));  // nothing has run
  repeated.replay(call.result());
  CHECK(identical(call.output(), expected));
  call.bring(other);
  // Another call between them has memory of its own.
  run(context, Case(settings_of(Loss::kClip, 140)));
  repeated.replay(call.result());
  CHECK(identical(call.output(), expected_of_other));
  call.bring(problem);
  infonce_result first = call.result();
  infonce_call *const before = repeated.begin(first), *const behind = repeated.begin(call.result());
  REQUIRE((before != nullptr && behind != nullptr));
  CHECK(repeated.end(before) == INFONCE_OK);
  CHECK(first.scalars.loss == expected.result.scalars.loss);
  CHECK(repeated.end(behind) == INFONCE_OK);
  CHECK(identical(call.output(), expected));
}

void check_refused(const infonce_problem &problem, const infonce_result &result, const char *reason) {
  CAPTURE(reason);
  const Repeated repeated(context_of(INFONCE_PRECISION_HIGHEST), problem, result);
  CHECK(repeated.status() == INFONCE_INVALID_ARGUMENT);
  CHECK_MESSAGE(std::strstr(repeated.failure().message, reason) != nullptr, repeated.failure().message);
}

}  // namespace

TEST_CASE("a repeated call gives the bits of calls on what its arrays hold then") {
  for (const Loss loss : {Loss::kNtXentFirst, Loss::kClip, Loss::kInfoNceUnpaired, Loss::kInfoNcePaired}) {
    check_replays(settings_of(loss), INFONCE_PRECISION_HIGHEST);
  }
  check_replays(settings_of(Loss::kInfoNceInBatch), INFONCE_PRECISION_MEDIUM);
}

TEST_CASE("so it does with labels and upstream gradients of the host's, without gradients, and in float64") {
  check_replays(settings_of(Loss::kSupCon), INFONCE_PRECISION_HIGHEST);
  check_replays(settings_of(Loss::kSupConMemory), INFONCE_PRECISION_MEDIUM);
  Settings settings = settings_of(Loss::kClip);
  settings.reduction = INFONCE_REDUCTION_NONE;
  settings.grad_output_count = settings.rows;
  check_replays(settings, INFONCE_PRECISION_MEDIUM);
  settings.gradient = false;
  check_replays(settings, INFONCE_PRECISION_HIGHEST);
  settings = settings_of(Loss::kNtXentFirst, 20);
  settings.temperature = 0.001;
  check_replays(settings, INFONCE_PRECISION_HIGHEST);
}

TEST_CASE("row losses and ranks come to the host, one repetition after the other") {
  const Context &context = context_of(INFONCE_PRECISION_HIGHEST);
  Settings settings = settings_of(Loss::kNtXentFirst);
  settings.reduction = INFONCE_REDUCTION_NONE;
  const Case problem(settings);
  const Output expected = run_with_rows(context, problem);
  DeviceCall call(problem);
  Output got(problem);
  got.want_rows(problem);
  infonce_result wanted = got.result;
  for (int m = 0; m < INFONCE_MOST_MATRICES; ++m) {
    wanted.gradients[m] = call.result().gradients[m];
  }
  Repeated repeated(context, call.problem(), wanted);
  REQUIRE_MESSAGE(repeated.status() == INFONCE_OK, repeated.failure().message);
  infonce_call *const first = repeated.begin(wanted);
  REQUIRE_MESSAGE(first != nullptr, repeated.failure().message);
  infonce_result second = wanted;
  CHECK(repeated.begin(second) == nullptr);
  CHECK(repeated.status() == INFONCE_INVALID_ARGUMENT);
  CHECK(std::strstr(repeated.failure().message, "before the next one") != nullptr);
  CHECK(repeated.end(first) == INFONCE_OK);
  CHECK(std::equal(expected.row_loss.begin(), expected.row_loss.end(), got.row_loss.begin()));
  CHECK(std::equal(expected.losses[0].begin(), expected.losses[0].end(), got.losses[0].begin()));
  CHECK(std::equal(expected.above[0].begin(), expected.above[0].end(), got.above[0].begin()));
  wanted.row_loss = {};
  CHECK(repeated.begin(wanted) == nullptr);
  CHECK(std::strstr(repeated.failure().message, "row_loss") != nullptr);
}

TEST_CASE("a repetition on rows that are not finite names the first, and the next one none") {
  const Context &context = context_of(INFONCE_PRECISION_HIGHEST);
  const Case problem(settings_of(Loss::kInfoNceInBatch));
  const Output expected = run(context, problem);
  DeviceCall call(problem);
  Repeated repeated(context, call.problem(), call.result());
  REQUIRE_MESSAGE(repeated.status() == INFONCE_OK, repeated.failure().message);
  const Case bad(problem.settings);
  bad.matrices[kKeys][37] = INFINITY;
  call.bring(bad);
  CHECK(repeated.end(repeated.begin(call.result())) == INFONCE_NON_FINITE);
  CHECK(repeated.failure().matrix == kKeys);
  CHECK(repeated.failure().row == 1);
  call.bring(problem);
  repeated.replay(call.result());
  CHECK(identical(call.output(), expected));
}

TEST_CASE("a cancelled repetition does not run, and the next one does") {
  const Context &context = context_of(INFONCE_PRECISION_HIGHEST);
  const Case problem(settings_of(Loss::kNtXentFirst));
  const Output expected = run(context, problem);
  DeviceCall call(problem);
  Repeated repeated(context, call.problem(), call.result());
  infonce_graph *graph = nullptr;
  infonce_call *begun = nullptr;
  infonce_failure failure = empty_failure();
  const int32_t cancelled = 1;
  REQUIRE(backend().capture(context.handle(), &call.problem(), &call.result(), &graph, &failure) == INFONCE_OK);
  CHECK(backend().replay(context.handle(), graph, &cancelled, &call.result(), &begun, &failure) == INFONCE_CANCELLED);
  CHECK(begun == nullptr);
  backend().graph_destroy(context.handle(), graph);
  repeated.replay(call.result());
  CHECK(identical(call.output(), expected));
}

TEST_CASE("what the host has or reads cannot be repeated, and the reason is told") {
  const Case on_host(settings_of(Loss::kClip));
  Output output(on_host);
  check_refused(on_host.problem, output.result, "memory of the device");
  DeviceCall call(on_host);
  infonce_result host_gradient = call.result();
  host_gradient.gradients[kKeys] = output.result.gradients[kKeys];
  check_refused(call.problem(), host_gradient, "memory of the device");

  Settings settings = settings_of(Loss::kClip);
  settings.normalize = false;
  DeviceCall unnormalised((Case(settings)));
  check_refused(unnormalised.problem(), unnormalised.result(), "without normalisation");
  settings = settings_of(Loss::kSupCon);
  settings.classes = Classes::kOne;
  DeviceCall one_class((Case(settings)));
  check_refused(one_class.problem(), one_class.result(), "classes of many rows");
}

TEST_CASE("the memory of a repeated call goes with it") {
  if (!on_simulator()) return;  // a driver keeps memory of its own for graphs, and hands it out in large pieces
  const auto available = [] {
    size_t free = 0, all = 0;
    check_cuda(cudaMemGetInfo(&free, &all));
    return free;
  };
  const Context context(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 0);
  const Case problem(settings_of(Loss::kClip));
  DeviceCall call(problem);
  const size_t before = available();
  {
    Repeated repeated(context, call.problem(), call.result());
    CHECK(available() < before);
    repeated.replay(call.result());
  }
  CHECK(available() == before);
}

}  // namespace infonce::test

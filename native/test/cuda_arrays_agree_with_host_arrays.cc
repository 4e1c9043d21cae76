// Calls whose arrays lie in memory of cudaMalloc give the bits of calls with host memory.
#include <cuda_runtime_api.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "test/cuda_arrays.h"

namespace infonce::test {

namespace {

void check_case(const Case &problem, infonce_precision precision) {
  INFO(describe(problem.settings));
  CAPTURE(precision);
  const std::string set = instruction_sets().front();
  const Context own(set, precision, 0);
  Output expected(problem);
  infonce_failure failure = empty_failure();
  REQUIRE_MESSAGE(own.run(problem.problem, expected.result, failure) == INFONCE_OK, failure.message);

  const Stream stream;
  const Context in_stream(set, precision, 0, backend(), stream.handle());
  for (const Context *context : {&own, &in_stream}) {
    DeviceCall call(problem);
    REQUIRE_MESSAGE(call.run(*context, failure) == INFONCE_OK, failure.message);
    CHECK(identical(call.output(), expected));
  }

  // Two calls in a row before anything is waited for.
  DeviceCall first(problem);
  DeviceCall second(problem);
  for (DeviceCall *call : {&first, &second}) {
    call->keep_scalars_on_device();
    REQUIRE_MESSAGE(call->run(in_stream, failure) == INFONCE_OK, failure.message);
  }
  stream.synchronize();
  CHECK(identical(first.output(), expected));
  CHECK(identical(second.output(), expected));
}

Settings settings_of(Loss loss, double temperature) {
  Settings settings;
  settings.loss = loss;
  settings.rows = 130;
  settings.dim = simulated() ? 70 : 300;
  settings.negative_rows = loss == Loss::kInfoNcePaired ? 5 : 140;
  settings.temperature = temperature;
  return settings;
}

}  // namespace

TEST_CASE("CUDA memory gives the bits of host memory") {
  for (const Loss loss : kLosses) {
    for (const auto precision : {INFONCE_PRECISION_HIGHEST, INFONCE_PRECISION_MEDIUM}) {
      check_case(Case(settings_of(loss, 0.1)), precision);
    }
  }
}

TEST_CASE("CUDA memory gives them with row losses and upstream gradients, and in float64") {
  for (const Loss loss : {Loss::kSupCon, Loss::kClip, Loss::kInfoNceUnpaired}) {
    Settings settings = settings_of(loss, 0.1);
    settings.reduction = INFONCE_REDUCTION_NONE;
    settings.grad_output_count = settings.rows;
    check_case(Case(settings), INFONCE_PRECISION_HIGHEST);
    settings = settings_of(loss, 0.001);
    settings.rows = 40;
    check_case(Case(settings), INFONCE_PRECISION_HIGHEST);
  }
}

TEST_CASE("CUDA memory gives them without normalisation") {
  for (const Loss loss : {Loss::kNtXentAll, Loss::kInfoNceInBatch}) {
    Settings settings = settings_of(loss, 0.05);
    settings.normalize = false;
    check_case(Case(settings), INFONCE_PRECISION_HIGHEST);
  }
}

TEST_CASE("memory_required is what a call allocates on the device") {
  constexpr int64_t kGranularity = int64_t(2) << 20;
  const auto free_memory = [] {
    size_t available = 0;
    size_t all = 0;
    check_cuda(cudaMemGetInfo(&available, &all));
    return static_cast<int64_t>(available);
  };
  for (const Loss loss : kLosses) {
    const Case problem(settings_of(loss, 0.1));
    INFO(describe(problem.settings));
    Output output(problem);
    infonce_failure failure = empty_failure();
    const auto run = [&](const Context &context) {
      REQUIRE_MESSAGE(context.run(problem.problem, output.result, failure) == INFONCE_OK, failure.message);
    };
    const std::string set = instruction_sets().front();
    run(Context(set, INFONCE_PRECISION_HIGHEST, 0));  // loads the kernels
    const Context context(set, INFONCE_PRECISION_HIGHEST, 0);
    infonce_memory_needs needs{};
    needs.struct_size = sizeof(needs);
    needs.gradients = ~uint32_t(0);
    REQUIRE(backend().memory_required(context.handle(), &problem.problem, &needs, &failure) == INFONCE_OK);
    const int64_t before = free_memory();
    CHECK(needs.available == before);
    run(context);
    const int64_t taken = before - free_memory();
    CHECK(taken >= needs.device);
    CHECK(taken <= needs.device + kGranularity);
    REQUIRE(backend().memory_required(context.handle(), &problem.problem, &needs, &failure) == INFONCE_OK);
    CHECK(needs.available >= before - taken + needs.device);
  }
}

TEST_CASE("non-finite input in CUDA memory is an error, or NaN where the call does not wait") {
  const Context context(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 0);
  for (const Loss loss : {Loss::kNtXentFirst, Loss::kInfoNcePaired, Loss::kClip}) {
    const Case problem(settings_of(loss, 0.1));
    INFO(describe(problem.settings));
    problem.matrices[kAnchors][static_cast<size_t>(7 * problem.settings.dim)] = NAN;
    infonce_failure failure = empty_failure();
    DeviceCall waiting(problem);
    CHECK(waiting.run(context, failure) == INFONCE_NON_FINITE);
    CHECK(failure.matrix == kAnchors);
    CHECK(failure.row == 7);

    DeviceCall call(problem);
    call.keep_scalars_on_device();
    failure = empty_failure();
    REQUIRE_MESSAGE(call.run(context, failure) == INFONCE_OK, failure.message);
    check_cuda(cudaDeviceSynchronize());
    const Output &got = call.output();
    CHECK(std::isnan(got.result.scalars.loss));
    CHECK(std::isnan(got.result.scalars.grad_scale));
    CHECK(std::isnan(got.result.scalars.top1));
    CHECK(std::isnan(got.result.scalars.top5));
    CHECK(std::all_of(got.gradients.begin(), got.gradients.end(), all_nan));
  }
}

}  // namespace infonce::test

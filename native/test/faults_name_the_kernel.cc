// A program of its own: after a fault the process cannot use the device.
#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>

#include "test/case.h"
#include "test/context.h"

namespace infonce::test {

TEST_CASE("after a read of an invalid address this call and every later one fail with the name of the kernel") {
  Settings settings;
  settings.rows = 8;
  settings.dim = 4;
  Case problem(settings);
  Output output(problem);
  auto *nowhere = reinterpret_cast<float *>(std::uintptr_t(1) << 20);
  problem.problem.matrices[kAnchors].data = nowhere;
  problem.problem.matrices[kAnchors].residence = INFONCE_ON_DEVICE;
  output.result.gradients[kAnchors] = {nowhere, INFONCE_ON_DEVICE};
  const Context context(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 0);
  for (int call = 0; call < 2; ++call) {
    infonce_failure failure = empty_failure();
    CHECK(context.run(problem.problem, output.result, failure) == INFONCE_DEVICE_LOST);
    INFO(failure.message);
    CHECK(std::strstr(failure.message, "kernel prepare") != nullptr);
  }

  infonce_context_options options{};
  options.struct_size = sizeof(options);
  options.trace = 1;
  infonce_context *next = nullptr;
  infonce_failure failure = empty_failure();
  CHECK(backend().context_create(&options, &next, &failure) == INFONCE_DEVICE_UNAVAILABLE);
  CHECK(next == nullptr);
  INFO(failure.message);
  CHECK(std::strlen(failure.message) > 0);
}

}  // namespace infonce::test

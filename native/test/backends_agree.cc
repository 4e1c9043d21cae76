// The backend of the shared library against the CPU backend, in one process.
#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "test/case.h"
#include "test/context.h"

namespace infonce::test {

namespace {

constexpr double kTolerance = 4e-5;  // 'highest' allows each of the two half of it

double relative_difference(const Buffer<float> &a, const Buffer<float> &b) {
  double squares = 0;
  double length = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = double(a[i]) - b[i];
    squares += difference * difference;
    length += double(b[i]) * b[i];
  }
  return squares > 0 ? std::sqrt(squares / length) : 0;
}

double relative_difference(double a, double b) { return a == b ? 0 : std::abs(a - b) / std::abs(b); }

}  // namespace

TEST_CASE("the CPU and the device agree" * doctest::skip(on_cpu())) {
  const infonce_backend &cpu = *infonce_cpu_backend();
  const Context there(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 1);
  const Context here(instruction_sets(cpu).front(), INFONCE_PRECISION_HIGHEST, 0, cpu);
  for (const Loss loss : kLosses) {
    Settings settings;
    settings.loss = loss;
    settings.rows = simulated() ? 390 : 4096;
    settings.dim = simulated() ? 70 : 128;
    settings.negative_rows = loss == Loss::kInfoNcePaired ? 20 : settings.rows / 2;
    const Case problem(settings);
    INFO(describe(settings));
    const Output device = run(there, problem);
    const Output host = run(here, problem);
    CHECK(relative_difference(device.result.scalars.loss, host.result.scalars.loss) <= kTolerance);
    CHECK(relative_difference(device.result.scalars.grad_scale, host.result.scalars.grad_scale) <= kTolerance);
    CHECK(std::abs(device.result.scalars.top1 - host.result.scalars.top1) <= 1 / double(settings.rows));
    CHECK(std::abs(device.result.scalars.top5 - host.result.scalars.top5) <= 1 / double(settings.rows));
    for (int m = 0; m < problem.problem.matrix_count; ++m) {
      CHECK(relative_difference(device.gradients[m], host.gradients[m]) <= kTolerance);
    }
  }
}

}  // namespace infonce::test

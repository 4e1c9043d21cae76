// Random forms of problems, by every instruction set, precision and thread count, against float64; and the reference
// against finite differences of itself.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "test/agreement.h"
#include "test/context.h"
#include "test/engines.h"
#include "test/forms.h"
#include "test/reference.h"

namespace infonce::test {

namespace {

void check_inputs(const std::vector<Engine> &engines, const Inputs &inputs) {
  const Reference exact = reference(inputs);
  std::map<infonce_precision, Expectation> expected;
  for (const Engine &engine : engines) {
    CAPTURE(engine.name);
    Output got(inputs);
    got.want_rows(inputs);
    infonce_failure failure = empty_failure();
    const infonce_status status = engine.context->run(inputs.problem, got.result, failure);
    CHECK_MESSAGE(status == INFONCE_OK, failure.message);
    if (status == INFONCE_OK) {
      expected.try_emplace(engine.precision, inputs, engine.precision, exact).first->second.check(got);
    }
  }
}

void check_form(const std::vector<Engine> &engines, const Form &form) {
  INFO(describe(form));
  check_inputs(engines, inputs_of(form));
}

double loss_of(const Inputs &inputs) {
  const std::vector<double> rows = reference(inputs).row_loss;
  const Buffer<float> &upstream = inputs.grad_output;
  double loss = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    loss += rows[i] * (upstream.size() == 0 ? 1 : upstream[upstream.size() == 1 ? 0 : i]);
  }
  const bool mean = inputs.problem.reduction == INFONCE_REDUCTION_MEAN;
  return mean ? loss / static_cast<double>(rows.size()) : loss;
}

// The matrix in steps along and against its gradient: (the difference of the losses, what the gradient predicts).
void check_slope(const Inputs &inputs, int m, const std::vector<double> &gradient) {
  constexpr double kStep = 1.0 / 512;
  double length = 0;
  for (const double value : gradient) {
    length = std::hypot(length, value);
  }
  const Buffer<float> &matrix = inputs.matrices[m];
  const std::vector<float> before(matrix.begin(), matrix.end());
  const auto move = [&](double step) {
    for (size_t k = 0; k < matrix.size(); ++k) {
      matrix[k] = static_cast<float>(before[k] + step * gradient[k] / length);
    }
    return std::vector<float>(matrix.begin(), matrix.end());
  };
  const std::vector<float> behind = move(-kStep);
  const double loss_behind = loss_of(inputs);
  const std::vector<float> ahead = move(kStep);
  const double loss_ahead = loss_of(inputs);
  std::copy(before.begin(), before.end(), matrix.begin());
  double predicted = 0;
  for (size_t k = 0; k < gradient.size(); ++k) {
    predicted += gradient[k] * (static_cast<double>(ahead[k]) - behind[k]);
  }
  CAPTURE(m);
  CHECK(std::abs(loss_ahead - loss_behind - predicted) <= 1e-4 * predicted);
}

}  // namespace

TEST_CASE("the reference's gradients are its slopes") {
  for (uint32_t seed = 0; seed < 32; ++seed) {
    Form form = random_form(seed);
    form.temperature = 0.5;
    form.halves = false;
    INFO(describe(form));
    Inputs inputs = inputs_of(form);
    const Reference exact = reference(inputs);
    for (int m = 0; m < inputs.problem.matrix_count; ++m) {
      // Of one candidate, or in one dimension, the gradient is 0.
      if (std::abs(exact.loss) > 1e-9 && form.dim > 1) {
        check_slope(inputs, m, exact.gradients[static_cast<size_t>(m)]);
      }
    }
    constexpr double kStep = 1e-4;
    inputs.problem.scale += kStep;
    const double ahead = loss_of(inputs);
    inputs.problem.scale -= 2 * kStep;
    const double slope = (ahead - loss_of(inputs)) / (2 * kStep);
    CHECK(std::abs(slope - exact.grad_scale) <= 1e-6 * exact.grad_scale_size + 1e-9);
  }
}

TEST_CASE("random forms match the reference") {
  const std::vector<Engine> all = engines();
  const uint32_t count = simulated() ? 16 : 240;
  for (uint32_t seed = 0; seed < count; ++seed) {
    check_form(all, random_form(seed));
  }
}

}  // namespace infonce::test

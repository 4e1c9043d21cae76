// SupCon with a memory gives the results of a larger batch in which the memory's rows have an upstream gradient of 0.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "test/case.h"
#include "test/context.h"

namespace infonce::test {

namespace {

double distance(const float *a, const float *b, size_t count) {
  double difference = 0;
  double size = 0;
  for (size_t i = 0; i < count; ++i) {
    difference += std::pow(double(a[i]) - double(b[i]), 2);
    size += std::pow(double(b[i]), 2);
  }
  return std::sqrt(difference / size);
}

// The batch without the rows from `rows` on, which are its memory.
infonce_problem with_memory(const Case &batch, int64_t rows) {
  infonce_problem problem = batch.problem;
  set_loss(Loss::kSupConMemory, &problem);
  infonce_matrix &anchors = problem.matrices[kAnchors];
  infonce_matrix &memory = problem.matrices[kMemory];
  memory = anchors;
  memory.rows -= rows;
  memory.data = batch.matrices[kAnchors].data() + rows * problem.dim;
  memory.ids += rows;
  anchors.rows = rows;
  return problem;
}

struct Shape {
  int64_t rows;
  int64_t memory_rows;
  int64_t dim;
  Classes classes;
  double temperature;
  bool normalize;
};

void check_memory(const Shape &shape, infonce_precision precision) {
  Settings settings;
  settings.loss = Loss::kSupCon;
  settings.rows = shape.rows + shape.memory_rows;
  settings.dim = shape.dim;
  settings.classes = shape.classes;
  settings.temperature = shape.temperature;
  settings.normalize = shape.normalize;
  settings.reduction = INFONCE_REDUCTION_NONE;
  settings.grad_output_count = settings.rows;
  const Case batch(settings);
  const auto rows = static_cast<size_t>(shape.rows);
  for (size_t i = 0; i < batch.grad_output.size(); ++i) {
    batch.grad_output[i] = i < rows ? 1.0f + 0.25f * static_cast<float>(i % 3) : 0;
  }
  INFO(describe(settings));
  CAPTURE(precision);
  CAPTURE(shape.memory_rows);
  const Context context(instruction_sets().front(), precision, 2);
  const Output expected = run(context, batch);

  infonce_problem problem = with_memory(batch, shape.rows);
  problem.grad_output.count = shape.rows;
  const size_t elements = rows * static_cast<size_t>(shape.dim);
  const Buffer<float> gradient(elements);
  const Buffer<float> row_loss(rows);
  infonce_result result{};
  result.struct_size = sizeof(result);
  result.gradients[kAnchors].data = gradient.data();
  result.row_loss.data = row_loss.data();
  infonce_failure failure = empty_failure();
  REQUIRE_MESSAGE(context.run(problem, result, failure) == INFONCE_OK, failure.message);

  // Their logits are summed in another order.
  const double bound = precision == INFONCE_PRECISION_HIGHEST ? 2e-5 : 2e-2;
  CHECK(distance(row_loss.data(), expected.row_loss.data(), rows) < bound);
  CHECK(distance(gradient.data(), expected.gradients[kAnchors].data(), elements) < bound);
  const double grad_scale = expected.result.scalars.grad_scale;
  CHECK(std::abs(result.scalars.grad_scale - grad_scale) < bound * std::abs(grad_scale) + 1e-6);

  // A mean is over the anchors alone.
  problem.reduction = INFONCE_REDUCTION_MEAN;
  problem.grad_output.count = 0;
  problem.gradient = 0;
  REQUIRE_MESSAGE(context.run(problem, result, failure) == INFONCE_OK, failure.message);
  double mean = 0;
  for (const float loss : row_loss) {
    mean += double(loss) / double(rows);
  }
  CHECK(std::abs(result.scalars.loss - mean) < 1e-5 * std::abs(mean));
}

}  // namespace

TEST_CASE("a memory matches rows of the batch without an upstream gradient") {
  const Shape shapes[] = {
      {20, 33, 16, Classes::kPairs, 0.1, true},   {150, 40, 70, Classes::kPairs, 0.1, true},
      {40, 300, 20, Classes::kMixed, 0.1, true},  {30, 140, 20, Classes::kOne, 0.1, true},
      {1, 50, 20, Classes::kOne, 0.1, true},      {60, 1, 20, Classes::kMixed, 0.1, true},
      {60, 150, 20, Classes::kMixed, 0.01, true}, {60, 150, 20, Classes::kMixed, 0.001, true},
      {60, 150, 20, Classes::kMixed, 0.5, false}, {60, 150, 200, Classes::kPairs, 0.0125, true},
  };
  for (const Shape &shape : shapes) {
    check_memory(shape, INFONCE_PRECISION_HIGHEST);
  }
}

TEST_CASE("a memory matches them at the lowest precision too") {
  check_memory({150, 300, 64, Classes::kPairs, 0.1, true}, INFONCE_PRECISION_MEDIUM);
  check_memory({150, 300, 64, Classes::kMixed, 0.1, true}, INFONCE_PRECISION_MEDIUM);
}

TEST_CASE("NaN in a memory is reported with its row") {
  Settings settings;
  settings.loss = Loss::kSupCon;
  settings.rows = 60;
  settings.dim = 8;
  const Case batch(settings);
  const infonce_problem problem = with_memory(batch, 20);
  batch.matrices[kAnchors][(20 + 31) * 8 + 3] = NAN;
  Output output(batch);
  const Context context(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 2);
  infonce_failure failure = empty_failure();
  CHECK(context.run(problem, output.result, failure) == INFONCE_NON_FINITE);
  CHECK(failure.matrix == kMemory);
  CHECK(failure.row == 31);
}

}  // namespace infonce::test

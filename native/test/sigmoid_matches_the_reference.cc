// The sigmoid loss against its formula in float64, pair by pair, and its derivatives against differences.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "test/case.h"
#include "test/engines.h"
#include "test/half.h"
#include "test/sigmoid.h"

namespace infonce::test {

namespace {

// By precision. An exponential is as right as its logit: one of -20 in float32 to 2e-6, one of 10 of bfloat16 rows to 4e-2.
constexpr double kTolerance[] = {3e-6, 2e-4, 6e-2};

struct Exact {
  double loss = 0, grad_scale = 0, grad_bias = 0;
  std::vector<double> row_loss, gradients[2];
};

struct UnitRows {
  std::vector<double> unit, norm;

  UnitRows(const Buffer<float> &rows, int64_t count, int64_t dim) : unit(count * dim), norm(count) {
    for (int64_t i = 0; i < count; ++i) {
      double square = 0;
      for (int64_t d = 0; d < dim; ++d) square += double(rows[i * dim + d]) * rows[i * dim + d];
      norm[i] = std::max(std::sqrt(square), 1e-12);
      for (int64_t d = 0; d < dim; ++d) unit[i * dim + d] = rows[i * dim + d] / norm[i];
    }
  }

  // d loss / d row from d loss / d unit row.
  std::vector<double> through(const std::vector<double> &gradient, int64_t dim) const {
    std::vector<double> result(gradient.size());
    for (size_t i = 0; i < norm.size(); ++i) {
      double along = 0;
      for (int64_t d = 0; d < dim; ++d) along += gradient[i * dim + d] * unit[i * dim + d];
      for (int64_t d = 0; d < dim; ++d)
        result[i * dim + d] = (gradient[i * dim + d] - along * unit[i * dim + d]) / norm[i];
    }
    return result;
  }
};

Exact exact_of(const Sigmoid &from, double scale, double bias) {
  const infonce_problem &p = from.problem;
  const UnitRows rows(from.matrices[0], from.rows, from.dim), columns(from.matrices[1], from.columns, from.dim);
  Exact exact;
  exact.row_loss.assign(from.rows, 0);
  std::vector<double> of_rows(rows.unit.size(), 0.0), of_columns(columns.unit.size(), 0.0);
  const double share = p.reduction == INFONCE_REDUCTION_MEAN ? 1 / double(from.rows) : 1;
  for (int64_t i = 0; i < from.rows; ++i) {
    const double g = share * (p.grad_output.count ? from.grad_output[i] : 1);
    for (int64_t j = 0; j < from.columns; ++j) {
      double dot = 0;
      for (int64_t d = 0; d < from.dim; ++d) dot += rows.unit[i * from.dim + d] * columns.unit[j * from.dim + d];
      const double sign = from.is_positive(i, j) ? -1 : 1, t = sign * (scale * dot + bias);
      exact.row_loss[i] += std::max(t, 0.0) + std::log1p(std::exp(-std::fabs(t)));
      const double slope = g * sign / (1 + std::exp(-t));
      exact.grad_bias += slope;
      exact.grad_scale += slope * dot;
      for (int64_t d = 0; d < from.dim; ++d) {
        of_rows[i * from.dim + d] += slope * scale * columns.unit[j * from.dim + d];
        of_columns[j * from.dim + d] += slope * scale * rows.unit[i * from.dim + d];
      }
    }
    exact.loss += share * exact.row_loss[i];
  }
  exact.gradients[0] = rows.through(of_rows, from.dim);
  exact.gradients[1] = columns.through(of_columns, from.dim);
  return exact;
}

double error_of(const Buffer<float> &got, const std::vector<double> &expected) {
  double difference = 0, size = 0;
  for (size_t k = 0; k < expected.size(); ++k) {
    difference += (got[k] - expected[k]) * (got[k] - expected[k]);
    size += expected[k] * expected[k];
  }
  return std::sqrt(difference / std::max(size, 1e-300));
}

void check(const Output &got, const Exact &expected, const Sigmoid &from, double tolerance) {
  CHECK(std::fabs(got.result.scalars.loss - expected.loss) <= tolerance * expected.loss);
  if (from.problem.reduction == INFONCE_REDUCTION_NONE) CHECK(error_of(got.row_loss, expected.row_loss) <= tolerance);
  for (int m = 0; m < 2; ++m) CHECK(error_of(got.gradients[m], expected.gradients[m]) <= 3 * tolerance);
  // Sums in which terms of both signs cancel, beside what they are sums of.
  const double pairs = from.problem.reduction == INFONCE_REDUCTION_MEAN ? from.columns : from.rows * from.columns;
  const double size = std::min(pairs, 1 + expected.loss);
  CHECK(std::fabs(got.result.scalars.grad_bias - expected.grad_bias) <= tolerance * size);
  CHECK(std::fabs(got.result.scalars.grad_scale - expected.grad_scale) <= tolerance * size);
}

constexpr int32_t kPositives[] = {INFONCE_POSITIVE_SAME_INDEX, INFONCE_POSITIVE_SAME_ID_ELSEWHERE,
                                  INFONCE_POSITIVE_NONE};

bool refused(const Context &context, const Sigmoid &problem) {
  Output got(problem);
  infonce_failure failure = empty_failure();
  return context.run(problem.problem, got.result, failure) == INFONCE_INVALID_ARGUMENT;
}

}  // namespace

TEST_CASE("the sigmoid loss is that of its formula") {
  std::mt19937 random(7);
  for (const Engine &engine : engines()) {
    INFO(engine.name);
    for (const int32_t positive : kPositives) {
      // The gradient of a single pair is perpendicular to its row: nothing in one dimension, and in two or three, where
      // random rows may be nearly parallel, a difference in which float32's digits cancel.
      for (const auto &[rows, columns, dim] : {std::array<int64_t, 3>{1, 1, 12},
                                               {1, 5, 3},
                                               {33, 40, 19},
                                               {150, 170, 64},
                                               {150, 150, 20},
                                               {1100, 1300, 16}}) {
        if (rows > 200 && (engine.precision != INFONCE_PRECISION_HIGHEST || simulated())) continue;
        for (const double bias : {-10.0, 0.0, 3.0}) {
          if (simulated() && rows > 100 && bias != -10) continue;
          const auto reduction = infonce_reduction(random() % 3);
          const Sigmoid problem(random, positive, rows, columns, dim, bias, reduction);
          INFO("positive ", positive, ", ", rows, " x ", columns, " x ", dim, ", bias ", bias, ", reduction ",
               reduction);
          check(run(*engine.context, problem), exact_of(problem, 10, bias), problem, kTolerance[engine.precision]);
        }
      }
    }
  }
}

TEST_CASE("the sigmoid loss has the derivatives of its own losses") {
  std::mt19937 random(8);
  const Context context(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 2);
  Sigmoid problem(random, INFONCE_POSITIVE_SAME_INDEX, 40, 40, 24, -2, INFONCE_REDUCTION_SUM);
  const Output got = run(context, problem);
  const double step = 1e-3;
  const double by_bias = (exact_of(problem, 10, -2 + step).loss - exact_of(problem, 10, -2 - step).loss) / (2 * step);
  const double by_scale = (exact_of(problem, 10 + step, -2).loss - exact_of(problem, 10 - step, -2).loss) / (2 * step);
  CHECK(got.result.scalars.grad_bias == doctest::Approx(by_bias).epsilon(1e-5));
  CHECK(got.result.scalars.grad_scale == doctest::Approx(by_scale).epsilon(1e-5));
}

TEST_CASE("the sigmoid loss keeps its digits far out, and blocks of it add up") {
  std::mt19937 random(9);
  const Context context(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 1);
  for (const double bias : {-200.0, -30.0, 500.0}) {
    const Sigmoid problem(random, INFONCE_POSITIVE_SAME_INDEX, 20, 20, 8, bias, INFONCE_REDUCTION_SUM);
    const Output got = run(context, problem);
    CHECK(std::isfinite(got.result.scalars.loss));
    check(got, exact_of(problem, 10, bias), problem, 1e-6);
  }
  Sigmoid whole(random, INFONCE_POSITIVE_NONE, 70, 90, 8, -1, INFONCE_REDUCTION_SUM);
  const double loss = run(context, whole).result.scalars.loss;
  whole.problem.matrices[1].rows = 30;
  const double first = run(context, whole).result.scalars.loss;
  whole.problem.matrices[1].data = &whole.matrices[1][30 * 8];
  whole.problem.matrices[1].rows = 60;
  CHECK(first + run(context, whole).result.scalars.loss == doctest::Approx(loss).epsilon(1e-6));
}

TEST_CASE("the sigmoid loss: halves, both calls, any number of threads") {
  std::mt19937 random(10);
  for (const std::string &set : instruction_sets()) {
    const Context one(set, INFONCE_PRECISION_HIGHEST, 1), many(set, INFONCE_PRECISION_HIGHEST, 3);
    Sigmoid problem(random, INFONCE_POSITIVE_SAME_ID_ELSEWHERE, 300, 310, 40, -4, INFONCE_REDUCTION_NONE);
    const Output expected = run(one, problem);
    CHECK(identical(run(many, problem), expected));

    infonce_saved *saved = nullptr;
    Output got(problem);
    infonce_failure failure = empty_failure();
    REQUIRE(backend().forward(one.handle(), &problem.problem, &got.result, &saved, &failure) == INFONCE_OK);
    infonce_upstream upstream{};
    upstream.struct_size = sizeof upstream;
    upstream.grad_output = problem.problem.grad_output;
    REQUIRE(backend().backward(one.handle(), saved, &upstream, &got.result, &failure) == INFONCE_OK);
    backend().saved_destroy(one.handle(), saved);
    CHECK(identical(got, expected));
    CHECK(got.result.scalars.grad_bias == expected.result.scalars.grad_bias);

    problem.halves[1] = round_to(kFormats[0], problem.matrices[1], 0);
    const Output exact_half = run(one, problem);
    problem.problem.matrices[1].data = &problem.halves[1][0];
    problem.problem.matrices[1].type = INFONCE_FLOAT16;
    CHECK(identical(run(one, problem), exact_half));
  }
}

TEST_CASE("forms that the sigmoid loss does not have are refused") {
  std::mt19937 random(11);
  const Context context(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 1);
  const auto changed = [&](auto &&change) {
    Sigmoid problem(random, INFONCE_POSITIVE_SAME_INDEX, 6, 8, 4, -1, INFONCE_REDUCTION_MEAN);
    change(problem.problem);
    return refused(context, problem);
  };
  CHECK(changed([](infonce_problem &p) { p.blocks[0].column_softmax = 0; }));
  CHECK(changed([](infonce_problem &p) { p.softmaxes[0].positive = INFONCE_POSITIVE_SAME_ID_ELSEWHERE; }));
  CHECK(changed([](infonce_problem &p) { p.softmaxes[0].row_loss = INFONCE_ROW_LOSS_CROSS_ENTROPY; }));
  CHECK(changed([](infonce_problem &p) { p.bias = NAN; }));
  CHECK(changed([](infonce_problem &p) { p.matrices[1].rows = 5; }));
  CHECK(changed([](infonce_problem &p) { p.softmaxes[0].row_loss = INFONCE_ROW_LOSSES; }));
}

}  // namespace infonce::test

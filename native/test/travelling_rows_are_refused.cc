// Rows that travel with sums of their own are refused where they, or their sums, are wrong.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>

#include "test/backend.h"
#include "test/case.h"
#include "test/context.h"

namespace infonce::test {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

Inputs inputs_of_loss(Loss loss, int64_t rows) {
  Settings settings;
  settings.loss = loss;
  settings.rows = rows;
  settings.dim = 5;
  return Case(settings);
}

// An opened call, and a part of its own candidates with what travels.
class Opened {
 public:
  explicit Opened(const Inputs &inputs)
      : inputs_(inputs), context_(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 2) {
    infonce_failure failure = empty_failure();
    const infonce_status status = backend().open(context_.handle(), &inputs.problem, &saved_, &failure);
    REQUIRE_MESSAGE(status == INFONCE_OK, failure.message);
    part.struct_size = sizeof(part);
    part.candidates = inputs.problem.matrices[inputs.problem.blocks[0].candidates];
    const auto rows = static_cast<size_t>(part.candidates.rows);
    for (Buffer<double> *numbers : {&log_sum, &rank, &log_sum_exp, &weight}) {
      *numbers = Buffer<double>(rows);
    }
    above = Buffer<int32_t>(rows);
    part.columns.log_sum = log_sum.data();
    part.columns.rank = rank.data();
    part.columns.above = above.data();
    part.columns.log_sum_exp = log_sum_exp.data();
    part.columns.weight = weight.data();
  }
  ~Opened() { backend().saved_destroy(context_.handle(), saved_); }
  Opened(const Opened &) = delete;
  Opened &operator=(const Opened &) = delete;

  infonce_status add() {
    failure = empty_failure();
    return backend().add(context_.handle(), saved_, &part, &failure);
  }
  infonce_status add_gradient() {
    failure = empty_failure();
    const infonce_output nothing{};
    return backend().add_gradient(context_.handle(), saved_, &part, &nothing, &failure);
  }
  infonce_status read(int32_t softmax, const infonce_travelling_rows &rows) {
    failure = empty_failure();
    return backend().read_rows(context_.handle(), saved_, softmax, &rows, &failure);
  }
  infonce_status join(int32_t softmax, const infonce_travelling_rows &rows) {
    failure = empty_failure();
    return backend().join_rows(context_.handle(), saved_, softmax, &rows, &failure);
  }
  infonce_status close(Output &output) {
    failure = empty_failure();
    return backend().close(context_.handle(), saved_, &output.result, &failure);
  }
  infonce_status close_gradient(Output &output) {
    failure = empty_failure();
    return backend().close_gradient(context_.handle(), saved_, &output.result, &failure);
  }
  infonce_status open_gradient() {
    failure = empty_failure();
    infonce_upstream upstream{};
    upstream.struct_size = sizeof(upstream);
    return backend().open_gradient(context_.handle(), saved_, &upstream, &failure);
  }
  void go_to_gradient() {
    Output output(inputs_);
    REQUIRE(close(output) == INFONCE_OK);
    REQUIRE(open_gradient() == INFONCE_OK);
  }

  Buffer<double> log_sum, rank, log_sum_exp, weight;
  Buffer<int32_t> above;
  infonce_part part{};
  infonce_failure failure = empty_failure();

 private:
  const Inputs &inputs_;
  Context context_;
  infonce_saved *saved_ = nullptr;
};

}  // namespace

TEST_CASE("parts without what travels with their columns are refused") {
  for (const Loss loss : {Loss::kClip, Loss::kNtXentFirst}) {
    const Inputs whole = inputs_of_loss(loss, 8);
    const auto check = [&](const std::string &message, bool in_gradient, double *infonce_travelling_rows::*array) {
      Opened call(whole);
      if (in_gradient) {
        call.go_to_gradient();
      }
      call.part.columns.*array = nullptr;
      CHECK((in_gradient ? call.add_gradient() : call.add()) == INFONCE_INVALID_ARGUMENT);
      CHECK(std::string(call.failure.message) == message);
    };
    check("log_sum of a part's columns is missing", false, &infonce_travelling_rows::log_sum);
    check("rank or above of a part's columns is missing", false, &infonce_travelling_rows::rank);
    check("log_sum_exp or weight of a part's columns is missing", true, &infonce_travelling_rows::log_sum_exp);
    check("log_sum_exp or weight of a part's columns is missing", true, &infonce_travelling_rows::weight);
    Opened call(whole);
    call.part.columns.above = nullptr;
    CHECK(call.add() == INFONCE_INVALID_ARGUMENT);
    CHECK(std::string(call.failure.message) == "rank or above of a part's columns is missing");
  }
}

TEST_CASE("losses that know all rows have no rows that travel") {
  const auto check = [](const Inputs &whole, const std::string &message) {
    Opened call(whole);
    CHECK(call.add() == INFONCE_INVALID_ARGUMENT);
    CHECK(std::string(call.failure.message) == message);
  };
  Inputs whole = inputs_of_loss(Loss::kNtXentFirst, 8);
  whole.problem.softmaxes[0].row_loss = INFONCE_ROW_LOSS_DEBIASED;
  check(whole, "debiased losses know how many candidates there are");
  whole.problem.softmaxes[0].negatives = 20;
  whole.problem.softmaxes[0].beta = 1;
  check(whole, "sums of weights of a part's columns are missing");
  whole = inputs_of_loss(Loss::kSupCon, 8);
  check(whole, "the first positives of rows that travel may be elsewhere: there are no ranks without them");
  whole.problem.ranks = 0;
  check(whole, "positives of a part's columns are missing");
  const auto check_terms = [](const Inputs &whole, const std::string &message) {
    Opened call(whole);
    call.part.terms = 1;
    CHECK(call.add() == INFONCE_INVALID_ARGUMENT);
    CHECK(std::string(call.failure.message) == message);
  };
  check_terms(whole, "terms are those of sums of positives by id that have their own");
  whole.problem.softmaxes[0].row_loss = INFONCE_ROW_LOSS_POSITIVE_AND_NEGATIVES;
  check_terms(whole, "terms are missing");
}

TEST_CASE("first positives in other calls are rows of a matrix of their own") {
  Inputs whole = inputs_of_loss(Loss::kSupCon, 8);
  infonce_problem &problem = whole.problem;
  infonce_softmax &softmax = problem.softmaxes[0];
  const Context context(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 1);
  Buffer<int32_t> first(8);
  std::fill(first.begin(), first.end(), -1);
  const auto check = [&](const std::string &message) {
    infonce_saved *saved = nullptr;
    infonce_failure failure = empty_failure();
    CHECK(backend().open(context.handle(), &problem, &saved, &failure) == INFONCE_INVALID_ARGUMENT);
    CHECK(std::string(failure.message) == message);
  };
  softmax.first_positives = first.data();
  for (const int32_t matrix : {-1, 0, 1}) {
    softmax.first_positives_in = matrix;
    check("first positives in other calls are in a matrix of their own");
  }
  problem.matrices[problem.matrix_count++] = problem.matrices[0];
  problem.matrices[1].rows = 3;
  problem.ranks = 0;
  check("first positives in other calls are for ranks of positives by id");
  problem.ranks = 1;
  first[4] = 3;
  check("first positives in other calls must be rows of their matrix");
  first[4] = 2;
  Output output(whole);
  infonce_failure failure = empty_failure();
  CHECK(context.run(problem, output.result, failure) == INFONCE_INVALID_ARGUMENT);
  CHECK(std::string(failure.message) == "first positives in other calls are those of a call that is opened");
  infonce_saved *saved = nullptr;
  CHECK(backend().open(context.handle(), &problem, &saved, &failure) == INFONCE_OK);
  backend().saved_destroy(context.handle(), saved);
}

TEST_CASE("rows of no softmax, without arrays or at the wrong time are refused") {
  const Inputs whole = inputs_of_loss(Loss::kClip, 8);
  Opened call(whole);
  const infonce_travelling_rows all = call.part.columns;
  const auto refuses = [&](infonce_status status, const std::string &message) {
    CHECK(status == INFONCE_INVALID_ARGUMENT);
    CHECK(std::string(call.failure.message) == message);
  };
  const std::string out_of_order = "this step does not follow the one before";
  infonce_travelling_rows ranks{};
  ranks.rank = call.rank.data();
  for (const int32_t softmax : {-1, 2, INT32_MAX}) {
    refuses(call.read(softmax, ranks), "rows of an unknown softmax");
    refuses(call.join(softmax, all), "rows of an unknown softmax");
  }
  infonce_travelling_rows rows = all;
  rows.log_sum = nullptr;
  refuses(call.join(0, rows), "log_sum of rows that came home is missing");
  rows = all;
  rows.above = nullptr;
  refuses(call.join(1, rows), "above of rows that came home is missing");
  refuses(call.read(0, all), out_of_order);  // there are no weights yet
  CHECK(call.read(1, ranks) == INFONCE_OK);
  CHECK(call.join(1, all) == INFONCE_OK);
  Output output(whole);
  CHECK(call.close(output) == INFONCE_OK);
  refuses(call.join(0, all), out_of_order);
  refuses(call.read(0, all), out_of_order);
  CHECK(call.open_gradient() == INFONCE_OK);
  CHECK(call.read(0, all) == INFONCE_OK);
  refuses(call.join(0, all), out_of_order);

  Inputs unranked = inputs_of_loss(Loss::kClip, 8);
  unranked.problem.ranks = 0;
  Opened other(unranked);
  CHECK(other.read(0, ranks) == INFONCE_INVALID_ARGUMENT);
  CHECK(std::string(other.failure.message) == "there are no ranks to be read");
  other.part.columns.rank = nullptr;
  other.part.columns.above = nullptr;
  CHECK(other.add() == INFONCE_OK);
  CHECK(other.join(0, other.part.columns) == INFONCE_OK);
}

// In a call of their own, whose losses are another's.
TEST_CASE("rows that visit are refused where more than sums is asked of them, or at the wrong time") {
  Settings settings;
  settings.loss = Loss::kInfoNceUnpaired;
  settings.rows = 8;
  settings.negative_rows = 9;
  settings.dim = 5;
  Inputs whole = Case(settings);
  enum class With { kRank, kWeights, kWeightMissing };
  const auto join = [](const Inputs &inputs, bool in_gradient, With with) {
    Opened call(inputs);
    if (in_gradient) call.go_to_gradient();
    infonce_travelling_rows rows{};
    if (with == With::kRank) rows.rank = call.part.columns.rank;
    else rows.log_sum_exp = call.part.columns.log_sum_exp;
    if (with == With::kWeights) rows.weight = call.part.columns.weight;
    const infonce_status status = call.join(0, rows);
    CHECK((status == INFONCE_OK || status == INFONCE_INVALID_ARGUMENT));
    return status == INFONCE_OK ? std::string("joined") : std::string(call.failure.message);
  };
  const std::string out_of_order = "this step does not follow the one before";
  CHECK(join(whole, false, With::kRank) == "joined");
  CHECK(join(whole, true, With::kRank) == out_of_order);
  CHECK(join(whole, false, With::kWeights) == out_of_order);
  CHECK(join(whole, true, With::kWeights) == "joined");
  CHECK(join(whole, true, With::kWeightMissing) == "weight of rows that visit is missing");
  const std::string more = "rows visit in a cross-entropy of blocks without positives";
  CHECK(join(inputs_of_loss(Loss::kClip, 8), false, With::kRank) == more);
  CHECK(join(inputs_of_loss(Loss::kInfoNceInBatch, 8), true, With::kWeights) == more);
  infonce_softmax &softmax = whole.problem.softmaxes[0];
  softmax.margin = 0.1;
  CHECK(join(whole, false, With::kRank) == more);
  softmax.margin = 0;
  softmax.row_loss = INFONCE_ROW_LOSS_DECOUPLED;
  CHECK(join(whole, false, With::kRank) == more);
  softmax.row_loss = INFONCE_ROW_LOSS_CROSS_ENTROPY;
  whole.problem.ranks = 0;
  CHECK(join(whole, false, With::kRank) == "there are no ranks to be taken");
  // Rows that meet parts alone have no loss.
  Inputs tower = inputs_of_loss(Loss::kSupCon, 8);
  tower.problem.blocks[0].meets_parts_alone = 1;
  const std::string without_loss = "rows without a loss have weights alone";
  CHECK(join(tower, false, With::kRank) == without_loss);
  CHECK(join(tower, true, With::kWeights) == "joined");
  CHECK(join(tower, true, With::kWeightMissing) == without_loss);
}

TEST_CASE("sums and weights that are no numbers are reported with matrix and row, or make all results NaN") {
  Inputs whole = inputs_of_loss(Loss::kClip, 8);
  for (const double value : {kNan, kInfinity}) {
    Opened call(whole);
    call.log_sum[3] = value;
    CHECK(call.add() == INFONCE_NON_FINITE);
    CHECK(call.failure.matrix == kKeys);
    CHECK(call.failure.row == 3);
    CHECK(call.join(0, call.part.columns) == INFONCE_NON_FINITE);
    CHECK(call.failure.matrix == kAnchors);
    CHECK(call.failure.row == 3);
  }
  for (const double value : {kNan, kInfinity, -kInfinity}) {
    Opened call(whole);
    call.go_to_gradient();
    call.weight[5] = value;
    CHECK(call.add_gradient() == INFONCE_NON_FINITE);
    CHECK(call.failure.matrix == kKeys);
    CHECK(call.failure.row == 5);
    if (value > 0) continue;  // an infinite log_sum_exp is that of a row without a loss
    Opened other(whole);
    other.go_to_gradient();
    other.log_sum_exp[2] = value;
    CHECK(other.add_gradient() == INFONCE_NON_FINITE);
    CHECK(other.failure.row == 2);
  }
  whole.problem.propagate_non_finite = 1;
  Opened call(whole);
  whole.matrices[kKeys][7] = std::numeric_limits<float>::quiet_NaN();
  CHECK(call.add() == INFONCE_OK);
  CHECK(std::isnan(call.log_sum[0]));
  infonce_travelling_rows ranks{};
  ranks.rank = call.rank.data();
  CHECK(call.read(0, ranks) == INFONCE_OK);
  CHECK(std::isnan(call.rank[0]));
  Opened next(inputs_of_loss(Loss::kClip, 8));
  CHECK(next.join(1, call.part.columns) == INFONCE_NON_FINITE);
  Inputs finite = inputs_of_loss(Loss::kClip, 8);
  finite.problem.propagate_non_finite = 1;
  Opened last(finite);
  CHECK(last.join(1, call.part.columns) == INFONCE_OK);
  Output output(finite);
  CHECK(last.close(output) == INFONCE_OK);
  CHECK(std::isnan(output.result.scalars.loss));
  CHECK(last.open_gradient() == INFONCE_OK);
  CHECK(last.read(0, last.part.columns) == INFONCE_OK);
  CHECK(std::isnan(last.weight[0]));
}

TEST_CASE("a decoupled loss of one sample has to be given candidates") {
  Inputs whole = inputs_of_loss(Loss::kNtXentFirst, 2);
  whole.problem.softmaxes[0].row_loss = INFONCE_ROW_LOSS_DECOUPLED;
  Output output(whole);
  {
    Opened call(whole);
    CHECK(call.close(output) == INFONCE_INVALID_ARGUMENT);
    CHECK(std::string(call.failure.message) == "no candidate is left in the sum");
    CHECK(call.add() == INFONCE_OK);
    CHECK(call.close(output) == INFONCE_OK);
  }
  Opened call(whole);
  call.log_sum[0] = call.log_sum[1] = -kInfinity;
  CHECK(call.join(0, call.part.columns) == INFONCE_OK);
  CHECK(call.close(output) == INFONCE_INVALID_ARGUMENT);
  call.log_sum[0] = call.log_sum[1] = 2;
  CHECK(call.join(0, call.part.columns) == INFONCE_OK);
  CHECK(call.close(output) == INFONCE_OK);
  CHECK(std::isfinite(output.result.scalars.loss));
}

}  // namespace infonce::test

// Over a group the smaller side goes round: where queries are fewer bytes than the negatives of all ranks, they visit these.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <mutex>
#include <numeric>
#include <string>
#include <vector>

#include "group/smaller_side.h"
#include "test/agreement.h"
#include "test/backend.h"
#include "test/context.h"
#include "test/engines.h"
#include "test/forms.h"
#include "test/group.h"
#include "test/half.h"
#include "test/troubled_transport.h"

namespace infonce::test {

namespace {

using group::Channel;
using group::Gradients;

constexpr int kMostRanks = 5;

using Contexts = ContextsOfRanks<kMostRanks>;

Contexts best_contexts(int threads = 1) { return {instruction_sets().front(), INFONCE_PRECISION_HIGHEST, threads}; }

int negatives_of(const infonce_problem &problem) {
  int m = 0;
  while (!is_candidate_alone(problem, m)) ++m;
  return m;
}

uint32_t staying(const infonce_problem &whole) {
  group::Record record;
  for (int m = 0; m < whole.matrix_count; ++m) record.rows[m] = whole.matrices[m].rows;
  return group::matrices_that_stay(whole, {record});
}

// Few queries and many negatives of all of them.
Form form_with_many_negatives(int64_t rows, int64_t negatives) {
  Form form;
  form.rows = form.keys = rows;
  form.further = {negatives};
  form.dim = 24;
  return form;
}

// Which losses, types and masks go with that is drawn at random.
Form random_form_with_many_negatives(uint32_t seed) {
  const bool has_threshold = seed % 4 == 3;
  Form form = form_to_share(has_threshold ? random_form_with_threshold(seed, seed % 8 == 3) : random_form(seed));
  const bool by_target = form.positive == INFONCE_POSITIVE_TARGET;
  set_towers(&form, kMostRanks + form.rows % 9);
  if (by_target) form.positive = INFONCE_POSITIVE_TARGET, form.keys = form.rows + 3;
  if (by_target) form.in_batch = seed / 4 % 2 == 0;
  else if (form.bias) form.in_batch = false;
  form.both_directions = seed % 5 == 0 && !by_target && !form.bias && !has_threshold;
  form.joint = seed % 5 == 1 && !by_target && !form.bias && !has_threshold;
  form.in_batch |= form.both_directions || form.joint;
  form.other_anchors = seed % 3 == 0 && !by_target;
  // What smoothing goes with.
  if (seed % 6 == 2 && !has_threshold) {
    form.label_smoothing = 0.25;
    form.bias = form.joint = false;
    form.ids = 0;
    form.own = 0;
    form.stretch = 0;
  }
  form.further.resize(1 + seed % 2);
  for (int64_t &rows : form.further) rows = 60 + 29 * int64_t(seed % 4);
  return form;
}

// Of those the ones in which queries visit, and a plain one. Where a device is simulated few: in float32, by a guide's
// threshold, with several directions in one denominator, with candidates of their own.
std::vector<Form> forms_of_visits() {
  Form plain = form_with_many_negatives(9, 150);
  plain.reduction = INFONCE_REDUCTION_NONE;
  plain.grad_output_count = 9;
  std::vector<Form> forms = {plain};
  std::vector<uint32_t> seeds = {3, 26, 56};
  if (!on_simulator()) {
    seeds.resize(simulated() ? 12 : 64);
    std::iota(seeds.begin(), seeds.end(), 0u);
  }
  for (const uint32_t seed : seeds) {
    const Form form = random_form_with_many_negatives(seed);
    if (staying(inputs_of(form).problem) != 0) forms.push_back(form);
  }
  return forms;
}

}  // namespace

TEST_CASE("queries travel where they are fewer bytes than the negatives") {
  const auto stays = [](const Form &form) {
    const Inputs whole = inputs_of(form);
    const uint32_t matrices = staying(whole.problem);
    for (int m = 0; m < whole.problem.matrix_count; ++m)
      if (matrices & bit_of(m)) CHECK(is_candidate_alone(whole.problem, m));
    return matrices != 0;
  };
  // Of 24 numbers: 2 * 96 bytes a negative; with the sums of a gradient and 36 more, 324 a query.
  CHECK(stays(form_with_many_negatives(10, 17)));
  CHECK(!stays(form_with_many_negatives(10, 16)));
  Form two = form_with_many_negatives(10, 9);
  two.further = {9, 8};
  CHECK(stays(two));
  // Whether a gradient is wanted decides nothing: a call in two halves has the bits of one.
  Form form = form_with_many_negatives(10, 17);
  form.gradient = form.ranks = false;
  CHECK(stays(form));
  // Ids travel with either.
  form.ids = 5;
  CHECK(stays(form));
  // Thresholds need the keys, which travel anyway where they are candidates.
  form = form_with_many_negatives(10, 17);
  form.threshold = INFONCE_THRESHOLD_ABSOLUTE;
  CHECK(stays(form));
  form.in_batch = false;
  CHECK(!stays(form));
  form.further = {27};
  CHECK(stays(form));
  // Negatives travel where a loss needs more of them than their sum.
  form = form_with_many_negatives(10, 1000);
  CHECK(stays(form));
  Form tower = form_with_many_negatives(10, 1000);
  set_one_tower(&tower, INFONCE_POSITIVE_ALL_VIEWS, 5, 2);
  CHECK(!stays(tower));
  // Whatever else queries meet.
  form = form_with_many_negatives(10, 1000);
  form.label_smoothing = 0.1;
  CHECK(stays(form));
  form.label_smoothing = 0;
  form.own = 2;
  CHECK(stays(form));
  form.own = 0;
  form.joint = true;
  CHECK(stays(form));
  form.joint = false;
  form.other_anchors = true;
  CHECK(stays(form));
  form.other_anchors = false;
  // By target a threshold needs the query's key, wherever that is.
  form.positive = INFONCE_POSITIVE_TARGET;
  form.keys = 40;
  CHECK(stays(form));
  form.threshold = INFONCE_THRESHOLD_ABSOLUTE;
  form.further = {17};
  CHECK(!stays(form));
  form.further = {27};
  CHECK(stays(form));
}

// One tower goes half round; for a memory that stays all the way.
TEST_CASE("memories stay where the rows that meet them are fewer bytes") {
  const auto stays = [](int64_t rows, int64_t memory, size_t ranks) {
    Form form;
    form.positive = INFONCE_POSITIVE_SAME_ID;
    form.rows = rows;
    form.memory = memory;
    form.dim = 24;
    const Inputs whole = inputs_of(form);
    std::vector<group::Record> records(ranks);
    for (int m = 0; m < whole.problem.matrix_count; ++m) records[0].rows[m] = whole.problem.matrices[m].rows;
    return group::matrices_that_stay(whole.problem, records) != 0;
  };
  CHECK(stays(1000, 1, 2));
  // Of 24 numbers and an id: 200 bytes a row of the memory and hop; 364 a row with its sums and gradient.
  CHECK(stays(110, 101, 3));
  CHECK(!stays(110, 100, 3));
  CHECK(stays(110, 101, 5));
  CHECK(!stays(110, 100, 5));
}

TEST_CASE("queries that visit negatives on 2 to 5 ranks match the reference") {
  const std::vector<Form> forms = forms_of_visits();
  CHECK(forms.size() >= (on_simulator() ? 3 : simulated() ? 5 : 30));
  for (const std::string &set : instruction_sets()) {
    for (const auto precision : {INFONCE_PRECISION_HIGHEST, INFONCE_PRECISION_MEDIUM}) {
      if (on_simulator() && precision != INFONCE_PRECISION_HIGHEST) continue;
      CAPTURE(set);
      CAPTURE(precision);
      const Contexts contexts(set, precision, 1);
      for (const Form &form : forms) {
        if (form.threshold && !form.by_guide && precision != INFONCE_PRECISION_HIGHEST) continue;
        INFO(describe(form));
        const Inputs whole = inputs_of(form);
        const Expectation expected(whole, precision);
        const int size = 2 + int(form.seed % 4);
        expected.check(run_on_ranks(contexts.of(size), whole, random_shares(whole, size, form.seed)));
        if (on_simulator()) continue;
        expected.check(run_on_ranks(contexts.of(size), whole, even_shares(whole, size)));
      }
    }
  }
}

TEST_CASE("queries that visit give the same bits with any number of threads, and in two halves" *
          doctest::skip(!on_cpu())) {
  const Contexts one = best_contexts(1), four = best_contexts(4);
  for (const bool normalize : {true, false}) {
    Form form = form_with_many_negatives(11, 300);
    form.normalize = normalize;
    form.ids = 40;
    form.reduction = INFONCE_REDUCTION_NONE;
    form.grad_output_count = 11;
    const Inputs whole = inputs_of(form);
    REQUIRE(staying(whole.problem) != 0);
    const std::vector<Share> shares = random_shares(whole, 4, 3);
    for (const auto gradients : {Gradients::kSum, Gradients::kMean}) {
      const Output expected = run_on_ranks(one.of(4), whole, shares, gradients);
      CHECK(identical(run_on_ranks(four.of(4), whole, shares, gradients), expected));
      CHECK(identical(run_on_ranks(one.of(4), whole, shares, gradients, true), expected));
    }
  }
}

// As the first numbers of longer rows are.
TEST_CASE("negatives with gaps between their rows stay as they are") {
  const Contexts contexts = best_contexts();
  const Form form = form_with_many_negatives(9, 80);
  const Inputs whole = inputs_of(form);
  const int negatives = negatives_of(whole.problem);
  const std::vector<Share> shares = even_shares(whole, 2);
  const Output expected = run_on_ranks(contexts.of(2), whole, shares);
  const int64_t stride = form.dim + 5;
  on_ranks(2, [&](group::Group &group) {
    const auto rank = size_t(group.transport().rank());
    Inputs inputs = inputs_of(whole, shares[rank]);
    infonce_matrix &matrix = inputs.problem.matrices[negatives];
    const Buffer<float> apart(size_t(matrix.rows * stride));
    std::fill(apart.begin(), apart.end(), std::numeric_limits<float>::quiet_NaN());
    for (int64_t row = 0; row < matrix.rows; ++row)
      std::copy_n(inputs.matrices[negatives].data() + row * form.dim, form.dim, apart.data() + row * stride);
    matrix.data = apart.data();
    matrix.row_stride = stride;
    Output output(inputs);
    infonce_failure failure = empty_failure();
    REQUIRE(group.run(group.take_turn(), backend(), contexts.of(2)[rank]->handle(), inputs.problem, Gradients::kSum,
                      &output.result, &failure) == INFONCE_OK);
    const Buffer<float> &got = output.gradients[negatives];
    const size_t first = size_t(shares[rank].first_further * form.dim);
    for (size_t i = 0; i < got.size(); ++i) REQUIRE(got[i] == expected.gradients[negatives][first + i]);
    CHECK(output.result.scalars.loss == expected.result.scalars.loss);
  });
}

TEST_CASE("negatives may change between the halves of a call, though they stay" * doctest::skip(!on_cpu())) {
  const Contexts contexts = best_contexts();
  for (const bool by_guide : {false, true}) {
    Form form = form_with_many_negatives(9, 80);
    form.ids = 30;
    form.by_guide = by_guide;
    form.threshold = by_guide ? INFONCE_THRESHOLD_ABSOLUTE : INFONCE_THRESHOLD_NONE;
    form.threshold_margin = by_guide ? 0.5 : 0;
    const Inputs whole = inputs_of(form);
    REQUIRE(staying(whole.problem) != 0);
    const std::vector<Share> shares = even_shares(whole, 3);
    const Output expected = run_on_ranks(contexts.of(3), whole, shares);
    Output joined(whole);
    joined.want_rows(whole);
    std::mutex mutex;
    on_ranks(3, [&](group::Group &group) {
      const auto rank = size_t(group.transport().rank());
      const Inputs inputs = inputs_of(whole, shares[rank]);
      Output output(inputs);
      output.want_rows(inputs);
      infonce_failure failure = empty_failure();
      std::unique_ptr<group::RingCall> saved;
      REQUIRE(group.forward(group.take_turn(), backend(), contexts.of(3)[rank]->handle(), inputs.problem,
                            &output.result, &saved, &failure) == INFONCE_OK);
      for (int m = 0; m < inputs.problem.matrix_count; ++m) {
        for (const Buffer<float> *numbers : {&inputs.matrices[m], &inputs.guides[m], &inputs.bias[m]})
          std::fill(numbers->begin(), numbers->end(), std::numeric_limits<float>::quiet_NaN());
        std::fill(inputs.ids[m].begin(), inputs.ids[m].end(), 7);
      }
      infonce_upstream upstream{};
      upstream.struct_size = sizeof(upstream);
      REQUIRE(group.backward(group.take_turn(), *saved, upstream, Gradients::kSum, &output.result, &failure) ==
              INFONCE_OK);
      const std::lock_guard<std::mutex> lock(mutex);
      put_share(output, whole, shares[rank], joined);
    });
    for (int m = 0; m < whole.problem.matrix_count; ++m)
      for (size_t i = 0; i < joined.gradients[m].size(); ++i)
        REQUIRE(joined.gradients[m][i] == expected.gradients[m][i]);
  }
}

// A negative that equals the key has its logit to the last bit, wherever they meet.
TEST_CASE("negatives that equal the key do not outrank it elsewhere") {
  const Contexts contexts = best_contexts();
  for (const double temperature : {0.07, 0.13, 0.9}) {
    if (on_simulator() && temperature != 0.13) continue;
    for (const bool normalize : {true, false}) {
      Form form = form_with_many_negatives(10, 90);
      form.dim = 33;
      form.temperature = temperature;
      form.normalize = normalize;
      const Inputs whole = inputs_of(form);
      const infonce_softmax &softmax = whole.problem.softmaxes[0];
      const int negatives = negatives_of(whole.problem);
      int keys = 0;
      while (!(softmax.positive_matrices & bit_of(keys))) ++keys;
      for (int64_t row = 0; row < 90; ++row)
        std::copy_n(whole.matrices[keys].data() + row % 10 * 33, 33, whole.matrices[negatives].data() + row * 33);
      const Output expected = run_with_rows(*contexts.of(1)[0], whole);
      for (const int size : {3, 2, 5}) {
        if (on_simulator() && size != 3) continue;
        const Output got = run_on_ranks(contexts.of(size), whole, random_shares(whole, size, uint32_t(size)));
        for (size_t row = 0; row < 10; ++row) CHECK(got.above[0][row] == expected.above[0][row]);
      }
    }
  }
}

TEST_CASE("queries that visit send what the formulas say" * doctest::skip(simulated())) {
  const Contexts contexts = best_contexts();
  constexpr int64_t kDim = 32, kHeader = 64;
  for (const int variant : {0, 1, 2, 3}) {
    const bool gradient = variant != 1, ranks = variant != 2, halves = variant == 3;
    Form form = form_with_many_negatives(25, 120);
    form.dim = kDim;
    form.in_batch = false;
    form.gradient = gradient;
    form.ranks = ranks;
    Inputs whole = inputs_of(form);
    for (int m = 0; m < whole.problem.matrix_count && halves; ++m) {
      whole.halves[m] = round_to(kFormats[1], whole.matrices[m], 0);
      whole.problem.matrices[m].data = whole.halves[m].data();
      whole.problem.matrices[m].type = INFONCE_BFLOAT16;
    }
    const int64_t passes = gradient ? 2 : 1, b = halves ? 2 : 4;
    for (const int size : {2, 5}) {
      std::vector<Troubles> troubles(static_cast<size_t>(size));
      run_on_ranks(contexts.of(size), whole, random_shares(whole, size, 4), Gradients::kSum, false, with(troubles));
      int64_t rows = 0, sums = 0;
      for (const Troubles &rank : troubles) {
        rows += rank.sent[size_t(Channel::kForward)];
        sums += rank.sent[size_t(Channel::kBackward)];
      }
      const int64_t statistics = (ranks ? 8 : 0) + (gradient ? 16 : 0);
      CHECK(rows == (size - 1) * (passes * (25 * kDim * b + size * kHeader) + 25 * statistics));
      CHECK(sums == (size - 1) * 25 * (12 + (gradient ? kDim * 4 : 0)));
    }
  }
}

// Of whose rows none are looked at but by visitors.
TEST_CASE("bad negatives of a rank without queries are its own failure, or make all results NaN") {
  const Contexts contexts = best_contexts();
  const Form form = form_with_many_negatives(8, 60);
  Inputs whole = inputs_of(form);
  const int negatives = negatives_of(whole.problem);
  whole.matrices[negatives][size_t(25 * form.dim + 3)] = std::numeric_limits<float>::quiet_NaN();
  // The second rank has negatives 20 to 39, and no queries.
  const std::vector<Share> shares = {{0, 3, 0, 20}, {3, 0, 20, 20}, {3, 5, 40, 20}};
  std::mutex mutex;
  on_ranks(3, [&](group::Group &group) {
    const auto rank = size_t(group.transport().rank());
    const Inputs inputs = inputs_of(whole, shares[rank]);
    Output output(inputs);
    infonce_failure failure = empty_failure();
    infonce_status status = INFONCE_OK;
    std::string of_peer;
    try {
      status = group.run(group.take_turn(), backend(), contexts.of(3)[rank]->handle(), inputs.problem, Gradients::kSum,
                         &output.result, &failure);
    } catch (const group::PeerFailed &error) {
      of_peer = error.what();
    }
    const std::lock_guard<std::mutex> lock(mutex);
    if (rank == 1) {
      CHECK(status == INFONCE_NON_FINITE);
      CHECK(failure.matrix == negatives);
      CHECK(failure.row == 5);
    } else {
      CHECK(of_peer == "rank 1 of 3: row 5 of the input holds NaN or infinity");
    }
  });
  whole.problem.propagate_non_finite = 1;
  const Output got = run_on_ranks(contexts.of(3), whole, shares);
  CHECK(std::isnan(got.result.scalars.loss));
  CHECK(std::isnan(got.result.scalars.grad_scale));
  for (int m = 0; m < whole.problem.matrix_count; ++m) CHECK(all_nan(got.gradients[m]));
}

}  // namespace infonce::test

// What docs/distributed.md says of the bytes that ranks send.
#include <doctest/doctest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "test/forms.h"
#include "test/group.h"
#include "test/half.h"
#include "test/troubled_transport.h"

namespace infonce::test {

namespace {

using group::Channel;
using group::Gradients;

enum class Asked { kInBatch, kBothDirections, kOneTower };

constexpr int64_t kDim = 32;
constexpr int64_t kHeader = 64;  // of a message with rows

// Of all ranks, by channel.
struct Sent {
  int64_t control, rows, sums, collective;
};

Sent sent_by(std::vector<Troubles> &troubles) {
  Sent sent{};
  for (const Troubles &rank : troubles) {
    sent.control += rank.sent[size_t(Channel::kControl)];
    sent.rows += rank.sent[size_t(Channel::kForward)];
    sent.sums += rank.sent[size_t(Channel::kBackward)];
    sent.collective += rank.sent[size_t(Channel::kCollective)];
  }
  return sent;
}

Inputs whole_of(Asked asked, int64_t rows, bool gradient, bool ranks, bool halves) {
  Form form;
  form.positive = asked == Asked::kOneTower ? INFONCE_POSITIVE_ALL_VIEWS : INFONCE_POSITIVE_SAME_INDEX;
  form.views = asked == Asked::kOneTower ? 2 : 1;
  form.rows = rows;
  form.keys = asked == Asked::kOneTower ? 0 : rows;
  form.dim = kDim;
  form.both_directions = asked == Asked::kBothDirections;
  form.gradient = gradient;
  form.ranks = ranks;
  Inputs inputs = inputs_of(form);
  for (int m = 0; m < inputs.problem.matrix_count && halves; ++m) {
    inputs.halves[m] = round_to(kFormats[1], inputs.matrices[m], 0);
    inputs.problem.matrices[m].data = inputs.halves[m].data();
    inputs.problem.matrices[m].type = INFONCE_BFLOAT16;
  }
  return inputs;
}

// The formulas, of all ranks together: N rows of b bytes a number on P ranks.
Sent expected(Asked asked, int64_t ranks_of_group, int64_t rows, int64_t b, bool gradient, bool ranks) {
  const int64_t hops = asked == Asked::kOneTower ? ranks_of_group / 2 : ranks_of_group - 1;
  const bool has_columns = asked != Asked::kInBatch;
  const int64_t passes = gradient ? 2 : 1, agreements = gradient ? 5 : 4;
  Sent sent{};
  sent.control = agreements * ranks_of_group * (ranks_of_group - 1) * int64_t(sizeof(group::Record));
  sent.rows = hops * (passes * (rows * kDim * b + ranks_of_group * kHeader));
  if (gradient) sent.sums += hops * rows * kDim * 4;
  if (has_columns) {
    sent.sums += hops * rows * 12;
    sent.rows += hops * rows * ((ranks ? 8 : 0) + (gradient ? 16 : 0));
  }
  return sent;
}

}  // namespace

TEST_CASE("a loss sends what the formulas say") {
  constexpr int64_t kRows = 120;
  std::vector<std::unique_ptr<Context>> owned;
  for (int rank = 0; rank < 5; ++rank)
    owned.push_back(std::make_unique<Context>(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 1));
  for (const Asked asked : {Asked::kInBatch, Asked::kBothDirections, Asked::kOneTower}) {
    for (const int size : {2, 3, 4, 5}) {
      for (const int variant : {0, 1, 2, 3}) {
        const bool gradient = variant != 1, ranks = variant != 2, halves = variant == 3;
        CAPTURE(int(asked));
        CAPTURE(size);
        CAPTURE(variant);
        const Inputs whole = whole_of(asked, kRows, gradient, ranks, halves);
        std::vector<const Context *> contexts;
        for (int rank = 0; rank < size; ++rank) contexts.push_back(owned[size_t(rank)].get());
        const Sent formula = expected(asked, size, kRows, halves ? 2 : 4, gradient, ranks);
        for (const std::vector<Share> &shares : {even_shares(whole, size), random_shares(whole, size, 4)}) {
          std::vector<Troubles> troubles(static_cast<size_t>(size));
          run_on_ranks(contexts, whole, shares, Gradients::kSum, false, with(troubles));
          const Sent sent = sent_by(troubles);
          CHECK(sent.control == formula.control);
          CHECK(sent.rows == formula.rows);
          CHECK(sent.sums == formula.sums);
          CHECK(sent.collective == 0);
        }
      }
    }
  }
}

TEST_CASE("allReduce sends 2 (P - 1) / P of its numbers from each rank, and a barrier one record") {
  for (const int size : {2, 3, 4}) {
    std::vector<Troubles> troubles(static_cast<size_t>(size));
    const auto body = [&](group::Group &group) {
      std::vector<float> numbers(60);
      group.all_reduce(group.take_turn(), {{numbers.data(), 60, false}}, false);
      group.barrier(group.take_turn());
    };
    on_ranks(size, body, 60, with(troubles));
    for (const Troubles &rank : troubles) {
      CHECK(rank.sent[size_t(Channel::kCollective)] == 2 * (size - 1) * 60 * 4 / size);
      CHECK(rank.sent[size_t(Channel::kControl)] == 2 * (size - 1) * int64_t(sizeof(group::Record)));
    }
  }
}

}  // namespace infonce::test

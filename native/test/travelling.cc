#include "test/travelling.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>

#include "common/form.h"
#include "test/backend.h"

namespace infonce::test {

namespace {

// The arrays of infonce_travelling_rows.
struct Rows {
  explicit Rows(size_t rows)
      : log_sum(rows),
        rank(rows),
        log_sum_exp(rows),
        weight(rows),
        positive_sum(rows),
        positive_log_sum(rows),
        logit_sum(rows),
        rest_share(rows),
        above(rows),
        positives(rows),
        all_positives(rows) {
    for (const Buffer<double> *sums : {&log_sum, &positive_log_sum}) {
      std::fill(sums->begin(), sums->end(), -std::numeric_limits<double>::infinity());
    }
  }

  infonce_travelling_rows from(int64_t first) const {
    infonce_travelling_rows rows{};
    rows.log_sum = log_sum.data() + first;
    rows.rank = rank.data() + first;
    rows.above = above.data() + first;
    rows.log_sum_exp = log_sum_exp.data() + first;
    rows.weight = weight.data() + first;
    rows.positives = positives.data() + first;
    rows.positive_sum = positive_sum.data() + first;
    rows.positive_log_sum = positive_log_sum.data() + first;
    rows.logit_sum = logit_sum.data() + first;
    rows.all_positives = all_positives.data() + first;
    rows.rest_share = rest_share.data() + first;
    return rows;
  }

  Buffer<double> log_sum, rank, log_sum_exp, weight, positive_sum, positive_log_sum, logit_sum, rest_share;
  Buffer<int32_t> above, positives, all_positives;
};

class Rank {
 public:
  Rank(const Context *context, const Inputs &whole, const Share &share)
      : context_(context->handle()), share_(share), inputs_(inputs_of(whole, share)), output_(inputs_) {
    output_.want_rows(inputs_);
    infonce_problem &problem = inputs_.problem;
    for (int m = 0; m < problem.matrix_count; ++m) {
      home_[m] = Buffer<float>(output_.gradients[m].size());
    }
    for (int s = 0; s < problem.softmax_count; ++s) {
      travelling_.emplace_back(static_cast<size_t>(rows_of(problem, s)));
    }
    if (problem.reduction == INFONCE_REDUCTION_MEAN) {
      problem.reduction = INFONCE_REDUCTION_SUM;
      const float given = problem.grad_output.count > 0 ? problem.grad_output.data[0] : 1;
      upstream_ = given / static_cast<float>(row_count(whole.problem));
      problem.grad_output = {&upstream_, 1, INFONCE_ON_HOST};
    }
  }
  ~Rank() {
    if (saved_) {
      backend().saved_destroy(context_, saved_);
    }
  }
  Rank(const Rank &) = delete;
  Rank &operator=(const Rank &) = delete;

  bool computes() const { return row_count(inputs_.problem) > 0; }
  const Share &share() const { return share_; }
  const Inputs &inputs() const { return inputs_; }
  const Output &output() const { return output_; }

  void open() {
    if (!computes()) {
      return;
    }
    done([&](infonce_failure *failure) { return backend().open(context_, &inputs_.problem, &saved_, failure); });
    for (int s = 0; s < inputs_.problem.softmax_count && inputs_.problem.ranks; ++s) {
      infonce_travelling_rows ranks{};
      ranks.rank = travelling_[s].rank.data();
      done([&](infonce_failure *failure) { return backend().read_rows(context_, saved_, s, &ranks, failure); });
    }
  }

  // Candidates of a block that are another rank's.
  using Visit = std::function<void(const infonce_part &part, int64_t first)>;
  void for_each_part(int block, Rank &home, int64_t most_rows, const Visit &visit) {
    const infonce_problem &problem = home.inputs_.problem;
    const infonce_matrix &all = problem.matrices[problem.blocks[block].candidates];
    const int m = problem.blocks[block].candidates;
    for (int64_t first = 0; first < all.rows; first += most_rows) {
      infonce_part part{};
      part.struct_size = sizeof(part);
      part.block = block;
      part.candidates = all;
      part.candidates.rows = std::min(most_rows, all.rows - first);
      const int64_t before = first * problem.dim;
      const bool is_half = home.inputs_.halves[m].size() > 0;
      part.candidates.data = is_half ? static_cast<const void *>(home.inputs_.halves[m].data() + before)
                                     : home.inputs_.matrices[m].data() + before;
      part.candidates.ids = all.ids ? all.ids + first : nullptr;
      part.candidates.bias = all.bias ? all.bias + first : nullptr;
      const int softmax = problem.blocks[block].column_softmax;
      if (softmax >= 0) {
        part.columns = home.travelling_[static_cast<size_t>(softmax)].from(first);
      }
      visit(part, first);
      if (all.rows - first <= most_rows) {
        return;
      }
    }
  }

  void add(int block, Rank &home, int64_t most_rows) {
    for_each_part(block, home, most_rows, [&](const infonce_part &part, int64_t) {
      done([&](infonce_failure *failure) { return backend().add(context_, saved_, &part, failure); });
    });
  }

  void close() {
    if (!computes()) {
      return;
    }
    for (int s = 0; s < inputs_.problem.softmax_count; ++s) {
      const infonce_travelling_rows rows = travelling_[static_cast<size_t>(s)].from(0);
      done([&](infonce_failure *failure) { return backend().join_rows(context_, saved_, s, &rows, failure); });
    }
    done([&](infonce_failure *failure) { return backend().close(context_, saved_, &output_.result, failure); });
  }

  void open_gradient() {
    if (!computes()) {
      return;
    }
    infonce_upstream upstream{};
    upstream.struct_size = sizeof(upstream);
    upstream.grad_output = inputs_.problem.grad_output;
    done([&](infonce_failure *failure) { return backend().open_gradient(context_, saved_, &upstream, failure); });
    for (int s = 0; s < inputs_.problem.softmax_count; ++s) {
      const Rows &travelling = travelling_[static_cast<size_t>(s)];
      infonce_travelling_rows weights{};
      weights.log_sum_exp = travelling.log_sum_exp.data();
      weights.weight = travelling.weight.data();
      weights.all_positives = travelling.all_positives.data();
      weights.rest_share = travelling.rest_share.data();
      done([&](infonce_failure *failure) { return backend().read_rows(context_, saved_, s, &weights, failure); });
    }
  }

  void add_gradient(int block, Rank &home, int64_t most_rows) {
    const Buffer<float> &sums = home.home_[home.inputs_.problem.blocks[block].candidates];
    for_each_part(block, home, most_rows, [&](const infonce_part &part, int64_t first) {
      const int64_t dim = inputs_.problem.dim;
      const Buffer<float> share(sums.size() > 0 ? static_cast<size_t>(part.candidates.rows * dim) : 0);
      const infonce_output gradient = {share.size() > 0 ? share.data() : nullptr, INFONCE_ON_HOST};
      done([&](infonce_failure *failure) {
        return backend().add_gradient(context_, saved_, &part, &gradient, failure);
      });
      for (size_t i = 0; i < share.size(); ++i) {
        sums[static_cast<size_t>(first * dim) + i] += share[i];
      }
    });
  }

  void close_gradient() {
    if (computes()) {
      done([&](infonce_failure *failure) {
        return backend().close_gradient(context_, saved_, &output_.result, failure);
      });
    }
    for (int m = 0; m < inputs_.problem.matrix_count; ++m) {
      for (size_t i = 0; i < home_[m].size(); ++i) {
        output_.gradients[m][i] += home_[m][i];
      }
    }
  }

 private:
  template <class Step> static void done(const Step &step) {
    infonce_failure failure = empty_failure();
    REQUIRE_MESSAGE(step(&failure) == INFONCE_OK, failure.message);
  }

  infonce_context *context_;
  Share share_;
  Inputs inputs_;
  Output output_;
  float upstream_ = 1;
  std::vector<Rows> travelling_;  // by softmax
  PerMatrix<float> home_;         // gradients from elsewhere
  infonce_saved *saved_ = nullptr;
};

// Pairs of a matrix and itself are computed by one of two ranks.
bool meets(const infonce_block &block, int rank, int other, int size) {
  if (!is_triangle(block)) {
    return true;
  }
  const int hops = (rank - other + size) % size;
  return 2 * hops < size || (2 * hops == size && rank < other);
}

}  // namespace

Output run_travelling(const std::vector<const Context *> &contexts, const Inputs &whole,
                      const std::vector<Share> &shares, int64_t most_rows) {
  const infonce_problem &problem = whole.problem;
  const int size = static_cast<int>(shares.size());
  std::vector<std::unique_ptr<Rank>> ranks;
  for (size_t r = 0; r < shares.size(); ++r) {
    ranks.push_back(std::make_unique<Rank>(contexts[r], whole, shares[r]));
  }
  const auto go_round = [&](void (Rank::*take)(int, Rank &, int64_t)) {
    for (int hop = 1; hop < size; ++hop) {
      for (int r = 0; r < size; ++r) {
        const int other = (r - hop + size) % size;
        for (int b = 0; b < problem.block_count && ranks[static_cast<size_t>(r)]->computes(); ++b) {
          if (meets(problem.blocks[b], r, other, size)) {
            (*ranks[static_cast<size_t>(r)].*take)(b, *ranks[static_cast<size_t>(other)], most_rows);
          }
        }
      }
    }
  };
  const auto each = [&](void (Rank::*step)()) {
    for (const auto &rank : ranks) {
      (*rank.*step)();
    }
  };
  each(&Rank::open);
  go_round(&Rank::add);
  each(&Rank::close);
  if (problem.gradient) {
    each(&Rank::open_gradient);
    go_round(&Rank::add_gradient);
    each(&Rank::close_gradient);
  }
  Output joined(whole);
  joined.want_rows(whole);
  infonce_scalars &sums = joined.result.scalars;
  const auto rows = static_cast<double>(row_count(problem));
  for (const auto &rank : ranks) {
    put_share(rank->output(), whole, rank->share(), joined);
    if (!rank->computes()) {
      continue;
    }
    const infonce_scalars &own = rank->output().result.scalars;
    const double part = static_cast<double>(row_count(rank->inputs().problem)) / rows;
    sums.loss += own.loss / (problem.reduction == INFONCE_REDUCTION_MEAN ? rows : 1);
    sums.grad_scale += own.grad_scale;
    sums.top1 += own.top1 * part;
    sums.top5 += own.top5 * part;
  }
  // Shares of whole rows, except for rounding.
  const double counted = rows * problem.softmax_count;
  sums.top1 = std::round(sums.top1 * counted) / counted;
  sums.top5 = std::round(sums.top5 * counted) / counted;
  return joined;
}

}  // namespace infonce::test

// What rows that meet anchors as columns collect from rank to rank: for each the logarithm of a sum, and how many
// candidates are above its positive; of positives by id their number and sums, of harder negatives a second sum, and with
// label smoothing the sum of logits, too.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>

#include "infonce/infonce.h"

namespace infonce::group {

class ColumnSums {
 public:
  // What rows collect beside what all do.
  struct Kinds {
    bool positives, are_hard, logits;

    size_t doubles() const { return 1 + (positives ? 2 : 0) + (are_hard ? 1 : 0) + (logits ? 1 : 0); }
    size_t integers() const { return positives ? 2 : 1; }
  };
  static size_t bytes(int64_t rows, const Kinds &kinds) {
    return size_t(rows) * (kinds.doubles() * sizeof(double) + kinds.integers() * sizeof(int32_t));
  }
  ColumnSums(char *memory, int64_t rows, const Kinds &kinds) : rows_(rows) {
    double *next = reinterpret_cast<double *>(memory);
    const auto take = [&](bool is_there) { return is_there ? std::exchange(next, next + rows) : nullptr; };
    of_.log_sum = take(true);
    of_.positive_sum = take(kinds.positives);
    of_.positive_log_sum = take(kinds.positives);
    of_.weights_log_sum = take(kinds.are_hard);
    of_.logit_sum = take(kinds.logits);
    of_.above = reinterpret_cast<int32_t *>(next);
    if (kinds.positives) of_.positives = of_.above + rows;
  }

  // With the other arrays NULL.
  const infonce_travelling_rows &rows() const { return of_; }

  void clear() {
    for (double *log_sum : {of_.log_sum, of_.weights_log_sum, of_.positive_log_sum})
      if (log_sum) std::fill_n(log_sum, rows_, -std::numeric_limits<double>::infinity());
    std::fill_n(of_.above, rows_, 0);
    if (of_.logit_sum) std::fill_n(of_.logit_sum, rows_, 0.0);
    if (!of_.positives) return;
    std::fill_n(of_.positive_sum, rows_, 0.0);
    std::fill_n(of_.positives, rows_, 0);
  }

  static void join(char *arrived, const char *share, int64_t rows, const Kinds &kinds) {
    const infonce_travelling_rows to = ColumnSums(arrived, rows, kinds).of_;
    const infonce_travelling_rows from = ColumnSums(const_cast<char *>(share), rows, kinds).of_;
    for (int64_t i = 0; i < rows; ++i) {
      join_logarithm(to.log_sum + i, from.log_sum[i]);
      to.above[i] += from.above[i];
      if (kinds.are_hard) join_logarithm(to.weights_log_sum + i, from.weights_log_sum[i]);
      if (kinds.logits) to.logit_sum[i] += from.logit_sum[i];
      if (!kinds.positives) continue;
      to.positive_sum[i] += from.positive_sum[i];
      join_logarithm(to.positive_log_sum + i, from.positive_log_sum[i]);
      to.positives[i] += from.positives[i];
    }
  }

 private:
  static void join_logarithm(double *sum, double other) {
    const double larger = std::max(*sum, other), smaller = std::min(*sum, other);
    *sum = std::isinf(smaller) ? larger : larger + std::log1p(std::exp(smaller - larger));
  }

  int64_t rows_;
  infonce_travelling_rows of_{};
};

}  // namespace infonce::group

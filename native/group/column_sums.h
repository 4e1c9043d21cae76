// What rows that meet anchors as columns collect from rank to rank: for each the logarithm of a sum, and how many
// candidates are above its positive; of positives by id their number and sums, and of harder negatives a second sum, too.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "infonce/infonce.h"

namespace infonce::group {

enum class ColumnKind { kPlain, kById, kHard };

class ColumnSums {
 public:
  static size_t bytes(int64_t rows, ColumnKind kind) {
    return size_t(rows) * (sums_of(kind) * sizeof(double) + (kind == ColumnKind::kById ? 2 : 1) * sizeof(int32_t));
  }
  ColumnSums(char *memory, int64_t rows, ColumnKind kind) : rows_(rows), kind_(kind) {
    of_.log_sum = reinterpret_cast<double *>(memory);
    of_.above = reinterpret_cast<int32_t *>(of_.log_sum + sums_of(kind) * rows);
    if (kind == ColumnKind::kHard) of_.weights_log_sum = of_.log_sum + rows;
    if (kind != ColumnKind::kById) return;
    of_.positive_sum = of_.log_sum + rows;
    of_.positive_log_sum = of_.positive_sum + rows;
    of_.positives = of_.above + rows;
  }

  // With the other arrays NULL.
  const infonce_travelling_rows &rows() const { return of_; }

  void clear() {
    for (double *log_sum : {of_.log_sum, of_.weights_log_sum, of_.positive_log_sum})
      if (log_sum) std::fill_n(log_sum, rows_, -std::numeric_limits<double>::infinity());
    std::fill_n(of_.above, rows_, 0);
    if (kind_ != ColumnKind::kById) return;
    std::fill_n(of_.positive_sum, rows_, 0.0);
    std::fill_n(of_.positives, rows_, 0);
  }

  static void join(char *arrived, const char *share, int64_t rows, ColumnKind kind) {
    const infonce_travelling_rows to = ColumnSums(arrived, rows, kind).of_;
    const infonce_travelling_rows from = ColumnSums(const_cast<char *>(share), rows, kind).of_;
    for (int64_t i = 0; i < rows; ++i) {
      join_logarithm(to.log_sum + i, from.log_sum[i]);
      to.above[i] += from.above[i];
      if (kind == ColumnKind::kHard) join_logarithm(to.weights_log_sum + i, from.weights_log_sum[i]);
      if (kind != ColumnKind::kById) continue;
      to.positive_sum[i] += from.positive_sum[i];
      join_logarithm(to.positive_log_sum + i, from.positive_log_sum[i]);
      to.positives[i] += from.positives[i];
    }
  }

 private:
  static constexpr size_t sums_of(ColumnKind kind) {
    return kind == ColumnKind::kById ? 3 : kind == ColumnKind::kHard ? 2 : 1;
  }
  static void join_logarithm(double *sum, double other) {
    const double larger = std::max(*sum, other), smaller = std::min(*sum, other);
    *sum = std::isinf(smaller) ? larger : larger + std::log1p(std::exp(smaller - larger));
  }

  int64_t rows_;
  ColumnKind kind_;
  infonce_travelling_rows of_{};
};

}  // namespace infonce::group

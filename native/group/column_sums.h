// What rows that meet anchors as columns collect from rank to rank: for each the logarithm of a sum, and how many
// candidates are above its positive; of positives by id their number and sums, too.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "infonce/infonce.h"

namespace infonce::group {

class ColumnSums {
 public:
  static size_t bytes(int64_t rows, bool by_id) {
    return size_t(rows) * (by_id ? 3 * sizeof(double) + 2 * sizeof(int32_t) : sizeof(double) + sizeof(int32_t));
  }
  ColumnSums(char *memory, int64_t rows, bool by_id) : rows_(rows), by_id_(by_id) {
    of_.log_sum = reinterpret_cast<double *>(memory);
    of_.above = reinterpret_cast<int32_t *>(of_.log_sum + (by_id ? 3 : 1) * rows);
    if (!by_id) return;
    of_.positive_sum = of_.log_sum + rows;
    of_.positive_log_sum = of_.positive_sum + rows;
    of_.positives = of_.above + rows;
  }

  // With the other arrays NULL.
  const infonce_travelling_rows &rows() const { return of_; }

  void clear() {
    constexpr double kOfNone = -std::numeric_limits<double>::infinity();
    std::fill_n(of_.log_sum, rows_, kOfNone);
    std::fill_n(of_.above, rows_, 0);
    if (!by_id_) return;
    std::fill_n(of_.positive_sum, rows_, 0.0);
    std::fill_n(of_.positive_log_sum, rows_, kOfNone);
    std::fill_n(of_.positives, rows_, 0);
  }

  static void join(char *arrived, const char *share, int64_t rows, bool by_id) {
    const infonce_travelling_rows to = ColumnSums(arrived, rows, by_id).of_;
    const infonce_travelling_rows from = ColumnSums(const_cast<char *>(share), rows, by_id).of_;
    for (int64_t i = 0; i < rows; ++i) {
      join_logarithm(to.log_sum + i, from.log_sum[i]);
      to.above[i] += from.above[i];
      if (!by_id) continue;
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
  bool by_id_;
  infonce_travelling_rows of_{};
};

}  // namespace infonce::group

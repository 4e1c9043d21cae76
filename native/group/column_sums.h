// What rows that meet anchors as columns collect from rank to rank: for each the logarithm of a sum, and how many
// candidates are above its positive.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

namespace infonce::group {

struct ColumnSums {
  double *log_sum;
  int32_t *above;
  int64_t rows;

  static size_t bytes(int64_t rows) { return size_t(rows) * (sizeof(double) + sizeof(int32_t)); }
  ColumnSums(char *memory, int64_t rows)
      : log_sum(reinterpret_cast<double *>(memory)), above(reinterpret_cast<int32_t *>(log_sum + rows)), rows(rows) {}

  void clear() {
    std::fill_n(log_sum, rows, -std::numeric_limits<double>::infinity());
    std::fill_n(above, rows, 0);
  }

  static void join(char *arrived, const char *share, int64_t rows) {
    const ColumnSums to(arrived, rows), from(const_cast<char *>(share), rows);
    for (int64_t i = 0; i < rows; ++i) {
      const double larger = std::max(to.log_sum[i], from.log_sum[i]),
                   smaller = std::min(to.log_sum[i], from.log_sum[i]);
      if (!std::isinf(smaller)) to.log_sum[i] = larger + std::log1p(std::exp(smaller - larger));
      else to.log_sum[i] = larger;
      to.above[i] += from.above[i];
    }
  }
};

}  // namespace infonce::group

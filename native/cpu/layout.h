// Where the rows of each matrix lie among the rows of all.
#pragma once

#include <cstdint>

#include "common/form.h"
#include "infonce/infonce.h"

namespace infonce::cpu {

constexpr int64_t kRowMultiple = 32;  // the widest panel of any kernel library

inline int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }
inline int64_t blocks_of(int64_t n, int64_t block) { return (n + block - 1) / block; }

// The anchors of the first softmax come first, then the matrix of its other positives, then the rest; each begins at a
// multiple of kRowMultiple. Candidates of an anchor's own have no place: they are read as they are (OwnCandidates).
class Layout {
 public:
  explicit Layout(const infonce_problem &problem) {
    const infonce_softmax &softmax = problem.softmaxes[0];
    anchors_ = softmax.anchors;
    elsewhere_ = positives_elsewhere(softmax);
    place(problem, anchors_);
    if (elsewhere_ != kNone) place(problem, elsewhere_);
    const int own = own_candidates_of(problem);
    for (int m = 0; m < problem.matrix_count; ++m)
      if (m != anchors_ && m != elsewhere_ && m != own) place(problem, m);
    first_elsewhere_ = elsewhere_ != kNone ? first_[elsewhere_] : INT64_MAX;
  }

  // Matrices in this order.
  int count() const { return count_; }
  int matrix(int k) const { return order_[k]; }
  int anchors() const { return anchors_; }
  int elsewhere() const { return elsewhere_; }  // or kNone

  int64_t rows(int matrix) const { return rows_[matrix]; }
  int64_t padded_rows(int matrix) const { return round_up(rows_[matrix], kRowMultiple); }
  int64_t first(int matrix) const { return first_[matrix]; }
  int64_t end() const { return end_; }

  // Of an anchor, or of a row of the positives elsewhere.
  struct Place {
    int matrix;
    int64_t row;
  };
  bool is_elsewhere(int64_t row) const { return row >= first_elsewhere_; }
  Place place_of(int64_t row) const {
    return is_elsewhere(row) ? Place{elsewhere_, row - first_elsewhere_} : Place{anchors_, row};
  }
  // Of any row.
  Place place_of_any(int64_t row) const {
    int k = count_ - 1;
    while (row < first_[order_[k]]) --k;
    return {order_[k], row - first_[order_[k]]};
  }

 private:
  void place(const infonce_problem &problem, int matrix) {
    order_[count_++] = matrix;
    rows_[matrix] = problem.matrices[matrix].rows;
    first_[matrix] = end_;
    end_ += padded_rows(matrix);
  }

  int anchors_, elsewhere_, count_ = 0;
  int64_t first_elsewhere_;
  int order_[INFONCE_MOST_MATRICES];
  int64_t rows_[INFONCE_MOST_MATRICES], first_[INFONCE_MOST_MATRICES], end_ = 0;
};

}  // namespace infonce::cpu

// The inputs as towers of unit rows, and where their rows lie in the operands.
#pragma once

#include <cstdint>

#include "common/roles.h"
#include "cpu/kernels/kernels.h"

namespace infonce::cpu {

constexpr int64_t kRowMultiple = 32;  // the widest panel of any kernel library

inline int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }
inline int64_t blocks_of(int64_t n, int64_t block) { return (n + block - 1) / block; }

enum Tower { kAnchors, kKeys, kNegatives, kTowers };

// A memory stands behind the anchors in their tower, from a row on with which a block of any size begins.
class Towers {
 public:
  explicit Towers(const infonce_problem &problem)
      : roles_(roles_of(problem)),
        rows_{problem.matrices[roles_.anchors].rows, problem.matrices[roles_.anchors].rows,
              negatives_of_anchor(problem, roles_)} {}

  bool one_tower() const { return roles_.one_tower(); }
  bool keys_are_candidates() const { return roles_.candidates == Candidates::kKeys; }
  bool has_memory() const { return roles_.has_memory(); }
  bool both_directions() const { return roles_.both_directions; }
  Tower candidates() const { return one_tower() ? kAnchors : keys_are_candidates() ? kKeys : kNegatives; }
  bool has(Tower tower) const {
    return tower == kAnchors || (tower == kKeys ? !one_tower() : candidates() == kNegatives);
  }
  // The index of an input's matrix; -1: there is none.
  int matrix_of(Tower input) const {
    return input == kAnchors ? roles_.anchors : input == kKeys ? roles_.keys : roles_.negatives;
  }
  float *gradient_of(Tower input, const infonce_result &result) const {
    return result.gradients[matrix_of(input)].data;
  }

  // Rows of the input, of own negatives those of one anchor; a tower's own, without a memory.
  int64_t rows_of(Tower input) const { return rows_[input]; }
  // The first row of the memory in the anchors' tower; without one, the tower's end.
  int64_t memory_first() const { return round_up(rows_[kAnchors], has_memory() ? kMaxBlock : kRowMultiple); }
  int64_t padded_rows_of(Tower tower) const {
    if (tower == kAnchors && has_memory()) return memory_first() + round_up(rows_[kNegatives], kRowMultiple);
    return round_up(rows_[tower], kRowMultiple);
  }
  int64_t end_of(Tower tower) const { return end_of_part(tower, padded_rows_of(tower) - 1); }
  // Behind the last row of the part of a tower that row `first` is in.
  int64_t end_of_part(Tower tower, int64_t first) const {
    return tower == kAnchors && first >= memory_first() ? memory_first() + rows_[kNegatives] : rows_[tower];
  }

 private:
  Roles roles_;
  int64_t rows_[kTowers];
};

}  // namespace infonce::cpu

// The inputs as towers of unit rows, and where their rows lie in the operands.
#pragma once

#include <cstdint>

#include "common/problem.h"
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
      : rows_{problem.rows, problem.rows, problem.negative_rows},
        one_tower_(has_one_tower(problem)),
        keys_are_candidates_(problem.denominator == INFONCE_DENOMINATOR_ALL_KEYS),
        has_memory_(infonce::has_memory(problem)) {}

  bool one_tower() const { return one_tower_; }
  bool keys_are_candidates() const { return keys_are_candidates_; }
  bool has_memory() const { return has_memory_; }
  Tower candidates() const { return one_tower_ ? kAnchors : keys_are_candidates_ ? kKeys : kNegatives; }
  bool has(Tower tower) const {
    return tower == kAnchors || (tower == kKeys ? !one_tower_ : candidates() == kNegatives);
  }

  // Rows of the input; a tower's own, without a memory.
  int64_t rows_of(Tower input) const { return rows_[input]; }
  // The first row of the memory in the anchors' tower; without one, the tower's end.
  int64_t memory_first() const { return round_up(rows_[kAnchors], has_memory_ ? kMaxBlock : kRowMultiple); }
  int64_t padded_rows_of(Tower tower) const {
    if (tower == kAnchors && has_memory_) return memory_first() + round_up(rows_[kNegatives], kRowMultiple);
    return round_up(rows_[tower], kRowMultiple);
  }
  int64_t end_of(Tower tower) const { return end_of_part(tower, padded_rows_of(tower) - 1); }
  // Behind the last row of the part of a tower that row `first` is in.
  int64_t end_of_part(Tower tower, int64_t first) const {
    return tower == kAnchors && first >= memory_first() ? memory_first() + rows_[kNegatives] : rows_[tower];
  }

 private:
  int64_t rows_[kTowers];
  bool one_tower_, keys_are_candidates_, has_memory_;
};

}  // namespace infonce::cpu

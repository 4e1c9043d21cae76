// What a problem's rules say of its arrays, for backends and for those who ask them.
#pragma once

#include "infonce/infonce.h"

namespace infonce {

// The anchors are the candidates as well: there are no keys.
inline bool has_one_tower(const infonce_problem &p) { return p.denominator == INFONCE_DENOMINATOR_OTHER_ANCHORS; }

// One tower with further rows that are candidates only.
inline bool has_memory(const infonce_problem &p) { return has_one_tower(p) && p.negative_rows > 0; }

// How many times [negative_rows, dim] the negatives are.
inline int64_t sets_of_negatives(const infonce_problem &p) {
  return p.denominator == INFONCE_DENOMINATOR_OWN_NEGATIVES ? p.rows : 1;
}

}  // namespace infonce

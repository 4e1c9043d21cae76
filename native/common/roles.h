// The problems that backends compute, and the part that each matrix has in them.
#pragma once

#include <cstdint>

#include "infonce/infonce.h"

namespace infonce {

enum class Candidates {
  kOtherAnchors,     // one tower: every anchor but the row's own, and the rows of a memory if there is one
  kKeys,             // two towers: every key
  kSharedNegatives,  // the own key and all negatives [M, D]
  kOwnNegatives      // the own key and the own negatives, of [N, M, D]
};

// Matrices by role, as indices; -1: there is none.
struct Roles {
  Candidates candidates;
  int anchors = -1, keys = -1;
  int negatives = -1;  // of one tower: a memory, whose rows have neither a loss nor a gradient of their own
  bool both_directions = false;

  bool one_tower() const { return candidates == Candidates::kOtherAnchors; }
  bool has_memory() const { return one_tower() && negatives >= 0; }
  bool own_negatives() const { return candidates == Candidates::kOwnNegatives; }
};

// Fills `roles`, or says why the problem's blocks and softmaxes are not computed. Looks at no sizes.
const char *find_roles(const infonce_problem &problem, Roles *roles);

// Of a problem that was found right.
inline Roles roles_of(const infonce_problem &problem) {
  Roles roles{};
  find_roles(problem, &roles);
  return roles;
}

// How many negatives an anchor sees; 0 without.
inline int64_t negatives_of_anchor(const infonce_problem &problem, const Roles &roles) {
  if (roles.negatives < 0) return 0;
  const int64_t rows = problem.matrices[roles.negatives].rows;
  return roles.own_negatives() ? rows / problem.matrices[roles.anchors].rows : rows;
}

}  // namespace infonce

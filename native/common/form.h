// The form of a problem: which blocks and softmaxes it has. What backends may meet, and what they ask about it.
#pragma once

#include <cstdint>

#include "infonce/infonce.h"

namespace infonce {

constexpr int kNone = -1;  // no matrix, no softmax

// Positives are rows of the anchors' own matrix (and perhaps of a memory), else rows of another one, one each.
inline bool positives_are_anchors(const infonce_softmax &softmax) {
  return softmax.positive <= INFONCE_POSITIVE_SAME_ID;
}

// The matrix other than its anchors in which a softmax has positives, or kNone.
int positives_elsewhere(const infonce_softmax &softmax);

// A memory: positives by id that have neither a loss nor a gradient of their own. Or kNone.
inline int memory_of(const infonce_problem &problem) {
  const infonce_softmax &softmax = problem.softmaxes[0];
  return positives_are_anchors(softmax) ? positives_elsewhere(softmax) : kNone;
}

// Every anchor has candidates of its own, and no others.
inline bool has_own_candidates(const infonce_problem &problem) { return problem.blocks[0].own != 0; }

inline bool is_triangle(const infonce_block &block) { return block.anchors == block.candidates; }

// Pairs have losses of their own, without a softmax.
inline bool is_sigmoid(const infonce_problem &problem) {
  return problem.softmaxes[0].row_loss == INFONCE_ROW_LOSS_SIGMOID;
}

// Anchors of a softmax.
inline int64_t rows_of(const infonce_problem &problem, int softmax) {
  return problem.matrices[problem.softmaxes[softmax].anchors].rows;
}

// Says why a problem of this form is not computed; else null. Looks at no arrays but for whether they are there, and at
// no sizes.
const char *what_is_wrong_with_form(const infonce_problem &problem);

}  // namespace infonce

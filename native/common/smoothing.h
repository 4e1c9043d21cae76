// Label smoothing: log-sum-exp - (1 - amount) * mean logit of the positives - amount * that of the candidates. That
// adds amount * (the former - the latter) to the cross-entropy. The gradient of the latter is of rank one: no kernel of
// pairs sees it.
#pragma once

#include <cstdint>

#include "common/form.h"
#include "common/row_loss.h"

namespace infonce {

// Calls visit(matrix) for each whose rows are candidates of the softmax.
template <class Visit> void for_each_candidate_matrix(const infonce_problem &p, int softmax, Visit &&visit) {
  for (int b = 0; b < p.block_count; ++b) {
    const infonce_block &block = p.blocks[b];
    if (block.meets_parts_alone) continue;
    if (block.row_softmax == softmax) visit(block.candidates);
    else if (block.column_softmax == softmax) visit(block.anchors);
  }
}

// Whether a row's positive is not among the candidates of blocks: left out by target, it is one.
inline bool positives_are_apart(const infonce_problem &p, int softmax) {
  if (positives_are_anchors(p.softmaxes[softmax]) || leaves_out_target(p)) return false;
  bool are_apart = true;
  for_each_candidate_matrix(p, softmax, [&](int m) {
    if (p.softmaxes[softmax].positive_matrices >> m & 1) are_apart = false;
  });
  return are_apart;
}

// What a softmax's rows have in common.
struct Smoothing {
  double amount = 0;               // 0: none
  double candidates = 0;           // of a row, the positive included
  bool positive_is_apart = false;  // no block has it

  // d loss / d (the logit of an only positive), less the cross-entropy's, except what a positive in a block gets there.
  INFONCE_HOST_DEVICE double of_positive() const { return positive_is_apart ? amount * (1 - 1 / candidates) : amount; }
  // d loss / d (logit of any candidate in a block), less the cross-entropy's.
  INFONCE_HOST_DEVICE double of_candidate() const { return -amount / candidates; }
};

inline Smoothing smoothing_of(const infonce_problem &p, int index) {
  const infonce_softmax &softmax = p.softmaxes[index];
  Smoothing smoothing = {softmax.label_smoothing, 0, positives_are_apart(p, index)};
  for_each_candidate_matrix(p, index, [&](int m) {
    // A row is no candidate of its own.
    smoothing.candidates += double(p.matrices[m].rows) - (m == softmax.anchors ? 1 : 0);
  });
  if (smoothing.positive_is_apart) ++smoothing.candidates;
  smoothing.candidates += double(softmax.further_candidates);
  // The mean of one logit is that logit, and a row alone has none.
  if (smoothing.candidates <= 1) smoothing.amount = 0, smoothing.candidates = 1;
  return smoothing;
}

}  // namespace infonce

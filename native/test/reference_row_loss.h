// The loss of one row and its derivatives by the logits of its candidates, by the contract's formulas in float64.
#pragma once

#include <vector>

#include "infonce/infonce.h"

namespace infonce::test {

struct RowCandidates {
  std::vector<bool> positive;
  bool alike = false;                // all positives are the same pair
  std::vector<double> logits;        // as a level of precision has them
  std::vector<double> exact_logits;  // in float64
  double positive_weight = 1;        // of a decoupled loss
};

struct RowOutcome {
  double loss = 0;
  std::vector<double> slopes;  // by candidate
};

// Of a row with a positive. `scale`: the problem's.
RowOutcome row_loss_of(const infonce_softmax &rules, double scale, const RowCandidates &row);

}  // namespace infonce::test

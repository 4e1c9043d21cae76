#pragma once

#include <vector>

#include "test/case.h"

namespace infonce::test {

struct Range {
  double least;
  double most;
};

// The result of a case in float64, written straight from the formulas of infonce.h.
struct Reference {
  double loss = 0;
  double grad_scale = 0;
  // The sum of the sizes of its terms, which may cancel.
  double grad_scale_size = 0;
  // Logits that differ by a rounding error may stand in either order.
  Range top1{};
  Range top5{};
  std::vector<double> row_loss;
  std::vector<double> grad_anchors;
  std::vector<double> grad_keys;
  std::vector<double> grad_negatives;
};

Reference reference(const Case &from);

}  // namespace infonce::test

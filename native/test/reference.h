#pragma once

#include <vector>

#include "test/case.h"

namespace infonce::test {

struct Range {
  double least;
  double most;
};

// The operands of the logits; positives, and the pairs of a class of up to 17 rows, are always exact.
enum class Operands {
  kBfloat16 = 1,     // unit rows rounded to bfloat16: one product
  kTwoBfloat16 = 2,  // and their rounding errors, rounded too: three products, without that of the two errors
  kExact = 3,
};

// What the rows of a softmax come to. Logits that differ by a rounding error may stand in either order.
struct RowReference {
  std::vector<double> loss;  // neither weighted nor reduced
  std::vector<Range> above;  // candidates above the first positive; -1 for a row without
};

// The result of a call in float64, written straight from the formulas of infonce.h.
struct Reference {
  double loss = 0;
  double grad_scale = 0;
  // The sum of the sizes of its terms, which may cancel.
  double grad_scale_size = 0;
  Range top1{};
  Range top5{};
  std::vector<double> row_loss;                // weighted over the softmaxes
  std::vector<RowReference> rows;              // by softmax
  std::vector<std::vector<double>> gradients;  // by matrix
};

// Classes of more than 17 rows use the next better operands, because p - 1 / positives cancels in them.
Reference reference(const Inputs &from, Operands operands = Operands::kExact);

}  // namespace infonce::test

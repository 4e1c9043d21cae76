// Small cases for graphs, and what their arrays may hold the next time.
#pragma once

#include <algorithm>

#include "test/case.h"

namespace infonce::test {

inline Settings settings_of(Loss loss, int64_t rows = 66) {
  Settings settings;
  settings.loss = loss;
  settings.rows = rows;
  settings.dim = 36;
  settings.negative_rows = loss == Loss::kInfoNcePaired ? 5 : 70;
  return settings;
}

// The same rows, each with the numbers of another, and labels as they are.
inline Case with_other_numbers(const Case &from) {
  Case other(from.settings);
  for (const Buffer<float> &matrix : other.matrices) {
    std::reverse(matrix.begin(), matrix.end());
  }
  return other;
}

}  // namespace infonce::test

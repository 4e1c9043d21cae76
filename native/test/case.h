#pragma once

#include <cstdint>
#include <string>

#include "common/problem.h"
#include "infonce/infonce.h"
#include "test/buffer.h"

namespace infonce::test {

enum class Loss {
  kNtXentFirst,
  kNtXentAll,
  kSupCon,
  kSupConMemory,
  kInfoNceInBatch,
  kInfoNceUnpaired,
  kInfoNcePaired,
  kClip,
};

constexpr Loss kLosses[] = {
    Loss::kNtXentFirst,    Loss::kNtXentAll,       Loss::kSupCon,        Loss::kSupConMemory,
    Loss::kInfoNceInBatch, Loss::kInfoNceUnpaired, Loss::kInfoNcePaired, Loss::kClip,
};

// How many rows of supCon have the same label, the rows of a class spread over the batch and its memory.
enum class Classes {
  kPairs,  // two on average
  kOne,    // all
  kMixed,  // 3, 16, 17, 18 and 40, and single rows: what is treated pair by pair, and what through its sum
};

// What a test asks for. The inputs follow from it and are the same every time.
struct Settings {
  Loss loss = Loss::kNtXentFirst;
  int64_t rows = 0;
  int64_t dim = 0;
  int64_t negative_rows = 0;
  int64_t views = 2;
  Classes classes = Classes::kPairs;
  double temperature = 0.1;
  infonce_reduction reduction = INFONCE_REDUCTION_MEAN;
  bool normalize = true;
  bool gradient = true;
  bool ranks = true;
  // 0, 1 or rows.
  int64_t grad_output_count = 0;
  // Elements before each input and output.
  size_t offset = 0;
};

std::string describe(const Settings &settings);

// A problem and the buffers it points at, random but for a repeated row and a row of zeros.
struct Case {
  explicit Case(const Settings &settings);

  bool has_keys() const { return !has_one_tower(problem); }
  bool has_negatives() const { return negatives.size() > 0; }
  bool has_memory() const { return has_negatives() && !has_keys(); }

  Settings settings;
  Buffer<float> anchors;
  Buffer<float> keys;
  Buffer<float> negatives;
  Buffer<int32_t> labels;
  Buffer<float> grad_output;
  infonce_problem problem{};
};

// A result with buffers of exactly the size that a case fills.
struct Output {
  explicit Output(const Case &from);

  Buffer<float> row_loss;
  Buffer<float> grad_anchors;
  Buffer<float> grad_keys;
  Buffer<float> grad_negatives;
  infonce_result result{};
};

// The same bits in every number that the case fills.
bool identical(const Output &a, const Output &b);

}  // namespace infonce::test

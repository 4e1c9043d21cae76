#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "infonce/infonce.h"
#include "test/buffer.h"
#include "test/context.h"

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

// The matrices of these losses, as many of them as a loss has. A memory follows the anchors.
constexpr int kAnchors = 0;
constexpr int kKeys = 1;
constexpr int kMemory = 1;
constexpr int kNegatives = 2;

// Makes the problem's matrix count, blocks and softmaxes those of a loss.
void set_loss(Loss loss, infonce_problem *problem);

bool has_views(Loss loss);

// How many rows of supCon have the same id, the rows of a class spread over the batch and its memory.
enum class Classes {
  kPairs,  // two on average
  kOne,    // all
  kMixed,  // 3, 16, 17, 18 and 40, and single rows: up to 17 are treated pair by pair, more of them by their sum
};

// A test problem. Its random numbers depend on nothing else.
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

// An array for each matrix of a problem.
template <class T> using PerMatrix = std::array<Buffer<T>, INFONCE_MOST_MATRICES>;

// A problem and the buffers it points at, random but for a repeated row and a row of zeros.
struct Case {
  explicit Case(const Settings &settings);

  bool has_memory() const { return settings.loss == Loss::kSupConMemory; }

  Settings settings;
  PerMatrix<float> matrices;
  PerMatrix<int32_t> ids;
  Buffer<float> grad_output;
  infonce_problem problem{};
};

// A result with buffers of exactly the size that a case fills.
struct Output {
  explicit Output(const Case &from);

  Buffer<float> row_loss;
  PerMatrix<float> gradients;
  infonce_result result{};
};

// The result of a call, which has to succeed.
Output run(const Context &context, const Case &from);

// The same bits in every number that the case fills.
bool identical(const Output &a, const Output &b);

bool all_nan(const Buffer<float> &buffer);

}  // namespace infonce::test

#pragma once

#include <array>
#include <cstdint>
#include <random>
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

// Few rows, for the float64 scheme, and rows below and above what every thread prepares for itself.
constexpr int64_t kRowsAroundBlocks[] = {6, 130, 1100};
// A loss of so many rows. `dim` is for the two smaller counts.
Settings settings_around_blocks(Loss loss, int64_t rows, int64_t dim);

std::string describe(const Settings &settings);

// An array for each matrix of a problem.
template <class T> using PerMatrix = std::array<Buffer<T>, INFONCE_MOST_MATRICES>;

// A problem and the buffers it points at.
struct Inputs {
  PerMatrix<float> matrices;
  PerMatrix<uint16_t> halves;  // the same numbers where the problem's matrix is of 16 bits
  PerMatrix<int32_t> ids;
  PerMatrix<float> bias;
  PerMatrix<float> guides;
  Buffer<int32_t> counts;   // of candidates that anchors have of their own
  Buffer<int32_t> targets;  // of the first softmax
  Buffer<float> grad_output;
  uint32_t unwanted = 0;  // bits by matrix: whose gradients are not asked for
  size_t offset = 0;      // elements before each input and output
  infonce_problem problem{};
};

// Rows of the first softmax.
int64_t row_count(const infonce_problem &problem);

constexpr uint32_t bit_of(int matrix) { return uint32_t(1) << matrix; }

// All other fields are 0.
inline infonce_block block_of(int anchors, int candidates, int row_softmax, int column_softmax, uint32_t left_out = 0,
                              int own = INFONCE_OWN_NONE) {
  infonce_block block{};
  block.anchors = anchors;
  block.candidates = candidates;
  block.row_softmax = row_softmax;
  block.column_softmax = column_softmax;
  block.left_out = left_out;
  block.own = own;
  return block;
}
// Of weight 1.
inline infonce_softmax softmax_of(int anchors, int positive, uint32_t positive_matrices) {
  infonce_softmax softmax{};
  softmax.anchors = anchors;
  softmax.positive = positive;
  softmax.positive_matrices = positive_matrices;
  softmax.weight = 1;
  return softmax;
}

// Rows of length 0.5 to 1, so that without normalisation too no logit exceeds the scale.
Buffer<float> random_rows(std::mt19937 &random, int64_t rows, int64_t dim, size_t offset);
// From -1 to 2.
Buffer<float> random_weights(std::mt19937 &random, int64_t count, size_t offset);
// A repeated row and a row of zeros, in a matrix of at least 6 rows.
void plant_special_rows(const Buffer<float> &matrix, int64_t rows, int64_t dim);

// The inputs of a loss, random except for special rows.
struct Case : Inputs {
  explicit Case(const Settings &settings);

  Settings settings;
};

// A result with buffers of exactly the size that a call fills.
struct Output {
  explicit Output(const Inputs &from);

  // Asks for what each row of each softmax came to.
  void want_rows(const Inputs &from);

  Buffer<float> row_loss;
  PerMatrix<float> gradients;
  std::array<Buffer<double>, INFONCE_MOST_SOFTMAXES> losses;
  std::array<Buffer<int32_t>, INFONCE_MOST_SOFTMAXES> above;
  infonce_result result{};
};

// The result of a call, which has to succeed; with what each row came to.
Output run(const Context &context, const Inputs &from);
Output run_with_rows(const Context &context, const Inputs &from);

// After a refusal: the call as it should be succeeds. On a simulated device, where it takes a second, every eighth time.
void check_that_it_runs(const Context &context, const Inputs &good);

// The same bits in every number that the call fills.
bool identical(const Output &a, const Output &b);

bool all_nan(const Buffer<float> &buffer);
bool all_zero(const Buffer<float> &buffer);

}  // namespace infonce::test

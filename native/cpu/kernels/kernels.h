// The interface of a kernel library: block-level operations on packed operands, one table per instruction set.
#pragma once

#include <stdint.h>

namespace infonce::cpu {

// The unit rows of one input, padded with zero rows to a multiple of the panel and with zero columns likewise.
template <class Scalar> struct Operand {
  int64_t dim = 0;
  int64_t padded_rows = 0;
  int64_t padded_dim = 0;
  Scalar *row_panels = nullptr;    // [padded_dim / panel][padded_rows][panel]: second operand of the gradient product
  Scalar *depth_panels = nullptr;  // [padded_rows / panel][padded_dim][panel]: both operands of the logits product
  // The same two as pairs of bfloat16 for dot-product instructions, when the kernels ask for them:
  uint32_t *row_pairs = nullptr;    // [padded_dim / panel][padded_rows / 2][panel] of (row, row + 1)
  uint32_t *depth_pairs = nullptr;  // [padded_rows / panel][padded_dim / 2][panel] of (column, column + 1)
  // The chain through the normalisation: d loss / d row = inverse_norm * (g - radial * u <u, g>).
  double *inverse_norm = nullptr;  // [padded_rows]; 0 for a zero row, 1 without normalisation
  float *radial = nullptr;         // [padded_rows]; 1, or 0 where the norm was clamped or not taken
};

struct PreparedRows {
  int64_t first_bad_row;  // -1: all finite
  double largest_norm;    // of the unit rows: about 1, or the input's own without normalisation
};

// Leaves out pairs whose dot product is above their row's. Decided the same way each time.
struct Threshold {
  const Operand<float> *rows, *columns;  // whose dot products these are; null: the block's own
  float *dots;                           // room for those of others, as the block's exponentials; else null
  const float *most;                     // of the block's first row on, finite: what is above is out
  // Above this and no higher than `most` `is_above` is asked, with rows of the operands. Null: nothing is near.
  const float *near;
  bool (*is_above)(void *asked, int64_t row, int64_t column);
  void *asked;
};

// Groups say which pairs stay out of the matrix part: those of equal group. Padding rows have a negative one. In a sigmoid
// block, pairs of equal group are the positives.
struct LogitsBlock {
  const Operand<float> *rows;
  const Operand<float> *columns;
  int64_t first_row, first_column;
  int row_count, column_count;  // multiples of the panel
  float scale, shift;           // e = 2^(scale * dot - shift)
  bool masked;                  // the block holds padding or pairs of one group
  // These are of the block's first row or column on.
  const int32_t *row_group, *column_group;
  const int32_t *row_id, *column_id;  // null: no pair is left out by them
  const float *column_bias;           // added to dot products; null: none
  const Threshold *threshold;         // null: none
  // The dot product that a logit must exceed to outrank the positive; read to count.
  const float *row_rank, *column_rank;
  float *exponentials;  // out [row_count][stride]
  int stride;
  // out, or null: sums of the exponentials and, of the same sides or of none, counts of logits above the rank
  float *row_sum, *column_sum;
  float *row_slope;  // of a sigmoid block, as row_sum: sums of what is in `exponentials`
  float *row_above, *column_above;
  float *scratch;  // row_count * panel floats; of a sigmoid block twice as many
};

// W_ij = e_ij (row_weight_i + column_weight_j), multiplied with the other side's rows into the owner's accumulators.
// Within a class the target probabilities of both rows are taken off first: the sum of what remains keeps its digits.
struct GradientPanel {
  const float *const *exponentials;  // one block a step, [rows][stride]
  int block_count, block_rows;       // blocks of this panel; rows of the other side in each
  int stride;
  bool owner_is_row;  // false: blocks are read transposed, the owner's rows are their columns
  int owner_count, other_count;
  const float *owner_weight, *other_weight;
  // Null without classes. Rows of none have a negative class and target 0.
  const int32_t *owner_class, *other_class;
  const float *owner_target, *other_target;
  const Operand<float> *other;
  int64_t other_first;
  float *accumulators;  // [padded_dim / panel][accumulator_rows][panel]
  int64_t accumulator_rows;
  bool accumulate;           // false: accumulators are overwritten
  const float *const *next;  // the blocks of the owner's next panel, to be fetched meanwhile
  int next_count;
  float *scratch;  // kGradientScratch floats
};

template <class Scalar> struct FinishRows {
  const Operand<Scalar> *operand;
  int64_t first;
  int count;
  Scalar *accumulators;  // in: d loss / d u over `factor`; overwritten
  int64_t accumulator_rows;
  double factor;
  float *gradient;  // out: rows `first`... of [rows, dim]
};

// Row-owned float64 passes with a running maximum, for logits whose exponentials no constant shift can hold.
struct Float64Rows {
  const Operand<double> *owner, *other;
  int64_t first;
  int count;                       // at most kFloat64Rows
  int64_t other_first, other_end;  // multiples of kFloat64Columns, or the end of the rows
  double scale;
  const int32_t *owner_group, *other_group;
  const int32_t *owner_id, *other_id;     // null: no pair is left out by them
  const double *owner_bias, *other_bias;  // added to dot products; null: none
  double *scratch;
  // Leaves out dot products above that of the owner's or the other side's row; at most one of these is there.
  const double *owner_most, *other_most;
  const Operand<double> *owner_guide, *other_guide;  // whose dot products these are; null: the rows' own
  double *guide_scratch;                             // as `scratch`, where there are guides
};

struct Float64LogSumExp : Float64Rows {
  const double *owner_rank;
  // Of each owner row, continued: -infinity, 0 and 0 before the first call. `above` may be null: nothing is counted.
  double *maximum, *sum, *above;
};

struct Float64Gradient : Float64Rows {
  // Either weight may be null: that direction has no loss.
  const double *owner_lse, *owner_weight;
  const double *other_lse, *other_weight;
  double *accumulators;  // [padded_dim / float64 panel][accumulator_rows][float64 panel], added to
  int64_t accumulator_rows;
};

constexpr int kMaxBlock = 128;
constexpr int kGradientDepth = 128;  // rows of the other side in one gradient panel
constexpr int kGradientPad = 16;     // keeps rows of W off the same cache sets
constexpr int kGradientStride = kGradientDepth + kGradientPad;
constexpr int64_t kGradientScratch = int64_t(kGradientStride) * kMaxBlock;
constexpr int kFloat64Rows = 32;
constexpr int kFloat64Columns = 64;
constexpr int64_t kFloat64Scratch = kFloat64Rows * kFloat64Columns;

template <class Scalar> struct ScalarKernels {
  int panel;
  // Fills rows first ... first + count, both multiples of the panel, with the `rows` rows at `source`, each so many
  // numbers after the one before, and padding.
  PreparedRows (*prepare)(const float *source, int64_t source_stride, int64_t rows, bool normalize,
                          Operand<Scalar> *operand, int64_t first, int64_t count);
  // In the order of the logits product, so that equal rows give equal values; `lanes` anchors at a time.
  void (*ranking_dots)(const Operand<Scalar> &rows, int64_t first, int count, const Operand<Scalar> &partners,
                       const int64_t *partner, Scalar *dots);
  double (*dot)(const Operand<Scalar> &a, int64_t i, const Operand<Scalar> &b, int64_t j);
  // accumulator row += weight * row, accumulator row += weight * vector
  void (*add_row)(Scalar *accumulators, int64_t accumulator_rows, double weight, const Operand<Scalar> &operand,
                  int64_t row);
  void (*add_vector)(Scalar *accumulators, int64_t accumulator_rows, double weight, const double *vector, int64_t dim);
  // Returns the sum of the radial dots <u, g>.
  double (*finish)(const FinishRows<Scalar> &);
};

// Only the multiply-adds of the matrix products, from registers. Factors below 1 keep them finite.
struct Peak {
  float (*run)(int64_t iterations, float factor, float addend);
  int flops;  // of an iteration, 2 for each multiply-add
};

struct Kernels {
  const char *name;
  bool bfloat16;  // wants row_pairs and depth_pairs instead of float depth_panels
  ScalarKernels<float> float32;
  ScalarKernels<double> float64;
  void (*logits_block)(const LogitsBlock &);
  void (*sigmoid_block)(const LogitsBlock &);
  void (*gradient_panel)(const GradientPanel &);
  void (*float64_log_sum_exp)(const Float64LogSumExp &);
  void (*float64_gradient)(const Float64Gradient &);
  // Of plain rows, for negatives that are read only once.
  double (*row_dot)(const float *a, const float *b, int64_t dim);
  void (*widen_float16)(const uint16_t *from, float *to, int64_t count);
  void (*widen_bfloat16)(const uint16_t *from, float *to, int64_t count);
  Peak peak;
};

#if defined(__x86_64__) || defined(_M_X64)
namespace x86_64 {
const Kernels &kernels();
}
namespace avx2 {
const Kernels &kernels();
}
namespace avx512 {
const Kernels &kernels();
}
namespace avx512bf16 {
const Kernels &kernels();
}
#elif defined(__aarch64__)
namespace neon {
const Kernels &kernels();
}
#endif

}  // namespace infonce::cpu

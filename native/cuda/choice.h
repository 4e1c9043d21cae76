// What runs for a problem. It follows from the problem, the precision and the hardware alone: nothing here needs a GPU.
#pragma once

#include <vector>

#include "common/form.h"
#include "cuda/arch/architecture.h"

namespace infonce::cuda {

// A rectangle of logits: its rows, its columns, as matrices, and to whose sums they add their exponentials.
struct Block {
  int rows, columns;
  int row_softmax, column_softmax;
  uint32_t left_out;  // infonce_left_out bits; of own candidates that are treated apart, too
  double scale;       // of its logits

  bool is_triangle() const { return rows == columns; }
};

// The statistics of a block.
struct Sweep {
  Block block;
  bool triangular;  // each pair of a triangle once
  SweepPlan plan;
};

// What a block adds to the gradient of its rows. The plans are those of float32.
struct GradientPart {
  Block block;
  int32_t splits = 0;
  PanelPlan panel = {};    // unless it is computed in registers
  int64_t of_columns = 0;  // where the sums of its columns begin, if the panel has them
};

struct MatrixGradient {
  int matrix;
  std::vector<GradientPart> parts;  // that of the triangle first; none: the pairs are all there is
  bool from_columns = false;        // in float32 the panel of the anchors' gradient has its sums as those of columns
};

struct Choice {
  int anchors = 0;     // of the first softmax; the rows of every block, unless sides are joined;
                       // of a part those of its block
  int keys = kNone;    // with the positives, unless those are anchors
  int own = kNone;     // with candidates of each anchor's own, which no other anchor sees
  int memory = kNone;  // with further positives of anchors, unless they meet by id; it has no gradient
  Tower towers[INFONCE_MOST_MATRICES] = {};  // by matrix: their sizes; no arrays
  const Architecture *architecture = nullptr;
  Planes planes = Planes::kHighest;
  TileShape shape = TileShape::kSquare;
  bool online = false;    // a constant shift of the exponents could not hold them
  bool sigmoids = false;  // tiles are made into those
  Terms terms() const { return online ? Terms::kOnline : sigmoids ? Terms::kSigmoids : Terms::kExponentials; }
  // By bfloat16 products into float32, or in float64 where float32 would lose digits. Both may be true until the first
  // kernels have seen the data.
  bool in_float32 = true, in_float64 = false;
  double largest_logit = 0;  // that float32 can hold
  bool in_registers = false;
  bool flash = false;                        // one pass for the anchors' log-sum-exp and what their gradient sums
  int32_t flash_splits = 0, flash_rows = 0;  // of the columns; those of a split's blocks
  double scale = 0;                          // of the positives' logits
  std::vector<Block> blocks;                 // of the problem, but for own candidates, which no tile computes
  std::vector<Block> row_blocks;             // the same with each softmax as that of rows
  std::vector<Sweep> sweeps;

  // Of own candidates those of one anchor.
  int64_t rows(int matrix) const { return towers[matrix].rows; }
  int64_t longest_rows() const;
  bool has_triangle() const;  // of the anchors
  bool joins_sides = false;
  bool opened = false;       // further candidates come in parts
  bool meets_by_id = false;  // positives by id may be among them: all of them have sums apart, by comparing ids
};

// `opened`: further candidates come in parts.
Choice choose(const infonce_problem &problem, infonce_precision precision, bool has_large_classes,
              const Hardware &hardware, bool opened = false);

// Which matrix the candidates of a part of this block are there: the block's own, unless that has the anchors.
int matrix_for_part(const infonce_block &block);
// For a part of so many candidates, or of so many of the anchors, too: that block alone. `columns`: the softmax that the
// candidates add to, or kNone.
Choice choose_for_part(const Choice &opened, const infonce_block &block, int64_t rows, int64_t anchors, int columns,
                       const Hardware &hardware);

// For the gradients of the matrices whose bits are `wanted`, in the order in which they are computed.
std::vector<MatrixGradient> plan_gradients(const Choice &choice, uint32_t wanted, bool in_float32,
                                           const Hardware &hardware);

}  // namespace infonce::cuda

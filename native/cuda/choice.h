// What runs for a problem. It follows from the problem, the precision and the hardware alone: nothing here needs a GPU.
#pragma once

#include <vector>

#include "common/roles.h"
#include "cuda/arch/architecture.h"

namespace infonce::cuda {

inline int matrix_of(const Roles &roles, TowerName tower) {
  return tower == kAnchors ? roles.anchors : tower == kKeys ? roles.keys : roles.negatives;
}

constexpr int kNoSoftmax = -1;

// A rectangle of logits: its rows, its columns, and to whose sums they add their exponentials.
struct Block {
  TowerName rows, columns;
  int row_softmax, column_softmax;
};

// The statistics of a block.
struct Sweep {
  Block block;
  bool triangular;  // of one tower: each pair once
  SweepPlan plan;
};

// What a block adds to the gradient of its rows. The plans are those of float32.
struct GradientPart {
  Block block;
  int32_t splits = 0;
  PanelPlan panel = {};  // unless it is computed in registers
};

struct TowerGradient {
  TowerName tower;
  std::vector<GradientPart> parts;  // the second is that of a memory; none: the pairs are all there is
  bool from_columns = false;        // in float32 the panel of the anchors' gradient has its sums as those of columns
};

struct Choice {
  Tower towers[kTowers] = {};  // their sizes; no arrays
  const Architecture *architecture = nullptr;
  Planes planes = Planes::kHighest;
  TileShape shape = TileShape::kSquare;
  bool online = false;  // a constant shift of the exponents could not hold them
  // By bfloat16 products into float32, or in float64 where float32 would lose digits. Both may be true until the first
  // kernels have seen the data.
  bool in_float32 = true, in_float64 = false;
  double largest_logit = 0;  // that float32 can hold
  bool in_registers = false;
  bool flash = false;  // one pass for the anchors' log-sum-exp and what their gradient sums
  int32_t flash_splits = 0;
  std::vector<Block> blocks;      // of the problem; none with own negatives, which no tile computes
  std::vector<Block> row_blocks;  // the same with each softmax as that of rows
  std::vector<Sweep> sweeps;

  // Of own negatives those of one anchor.
  int64_t rows(TowerName tower) const { return towers[tower].rows; }
  int64_t longest_rows() const;
};

Choice choose(const infonce_problem &problem, const Roles &roles, infonce_precision precision, bool has_large_classes,
              const Hardware &hardware);

// For the gradients of the towers whose bits are `wanted`, in the order in which they are computed.
std::vector<TowerGradient> plan_gradients(const Choice &choice, uint32_t wanted, bool in_float32,
                                          const Hardware &hardware);

}  // namespace infonce::cuda

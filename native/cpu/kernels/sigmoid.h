// A block of the sigmoid loss. With t = scale <u_i, v_j> - shift in powers of two, a pair that is no positive has the loss
// softplus(t) = log (1 + 2^t) and its derivative by the logit, 1 / (1 + 2^-t), a positive both of -t, the derivative with
// its sign changed. Nothing is a difference, so that small losses keep their digits.
#pragma once

#include "cpu/kernels/logits.h"

namespace infonce::cpu::INFONCE_KERNEL_NAMESPACE {

// log(1 + x) for 0 <= x <= 1, below 1e-7 relative error.
INFONCE_INLINE Floats log1p_floats(Floats x) {
  Floats p = broadcast(0x1.56ee0ap-8f);
  p = p * x + broadcast(-0x1.e369f0p-6f);
  p = p * x + broadcast(0x1.4069dcp-4f);
  p = p * x + broadcast(-0x1.17d2c2p-3f);
  p = p * x + broadcast(0x1.874a80p-3f);
  p = p * x + broadcast(-0x1.fcc8c6p-3f);
  p = p * x + broadcast(0x1.553004p-2f);
  p = p * x + broadcast(-0x1.fffeacp-2f);
  p = p * x + broadcast(1.0f);
  return p * x;
}

// Statistics of a row's strips, as RowLanes.
struct SigmoidLanes {
  float *sum, *slope;  // [row_count][kLanes]
  int32_t *above;
};

// One vector of columns, all rows: dot products in, derivatives out.
template <bool kMasked, bool kStatistics, bool kCounts>
INFONCE_NOINLINE void sigmoid_strip(const LogitsBlock &block, int first, SigmoidLanes lanes) {
  const Floats scale = broadcast(block.scale), shift = broadcast(block.shift);
  const Ints sign = INT32_MIN - Ints{}, earlier = (first > 0 ? -1 : 0) - Ints{};
  const Ints column_group = kMasked ? load_ints(block.column_group + first) : Ints{};
  for (int r = 0; r < block.row_count; ++r) {
    float *out = block.exponentials + r * block.stride + first;
    Floats dot = load(out);
    Floats t = dot * scale - shift;
    Ints positive{}, padding{};
    if (kMasked) {
      const Ints row_group = block.row_group[r] - Ints{};
      positive = row_group == column_group;
      padding = (row_group | column_group) < 0;
      t = (Floats)((Ints)t ^ (positive & sign));
    }
    const Ints is_above = t > Floats{};
    const Floats x = exp2_floats((Floats)((Ints)t | sign));  // 2^-|t|
    const Floats share = 1.0f / (1.0f + x);
    Floats loss = log1p_floats(x) + (Floats)((Ints)t & is_above) * broadcast(0x1.62e430p-1f);
    Floats slope = (Floats)(((Ints)share & is_above) | ((Ints)(x * share) & ~is_above));
    if (kMasked) {
      loss = (Floats)((Ints)loss & ~padding);
      slope = (Floats)(((Ints)slope ^ (positive & sign)) & ~padding);
      const Ints none = positive | padding;
      if (kCounts) dot = (Floats)(((Ints)dot & ~none) | ((Ints)broadcast(-__builtin_inff()) & none));
    }
    store(out, slope);
    if (!kStatistics) continue;
    store(lanes.sum + r * kLanes, (Floats)((Ints)load(lanes.sum + r * kLanes) & earlier) + loss);
    store(lanes.slope + r * kLanes, (Floats)((Ints)load(lanes.slope + r * kLanes) & earlier) + slope);
    if (kCounts) {
      const Ints above = load_ints(lanes.above + r * kLanes) & earlier;
      store(lanes.above + r * kLanes, count_above(above, dot, broadcast(block.row_rank[r])));
    }
  }
}

template <bool kMasked, bool kStatistics, bool kCounts> void sigmoid_strips(const LogitsBlock &block) {
  const int size = block.row_count * kLanes;
  const SigmoidLanes lanes = {block.scratch, block.scratch + size,
                              reinterpret_cast<int32_t *>(block.scratch + 2 * size)};
  for (int column = 0; column < block.column_count; column += kLanes)
    sigmoid_strip<kMasked, kStatistics, kCounts>(block, column, lanes);
  if (!kStatistics) return;
  for (int row = 0; row < block.row_count; row += kLanes) {
    Floats sums[kLanes], slopes[kLanes], counts[kLanes];
    INFONCE_UNROLL for (int r = 0; r < kLanes; ++r) {
      sums[r] = load(lanes.sum + (row + r) * kLanes);
      slopes[r] = load(lanes.slope + (row + r) * kLanes);
      if (kCounts) counts[r] = __builtin_convertvector(load_ints(lanes.above + (row + r) * kLanes), Floats);
    }
    store(block.row_sum + row, row_sums(sums));
    store(block.row_slope + row, row_sums(slopes));
    if (kCounts) store(block.row_above + row, row_sums(counts));
  }
}

template <bool kMasked> void sigmoids(const LogitsBlock &block) {
  if (!block.row_sum) sigmoid_strips<kMasked, false, false>(block);
  else if (block.row_above) sigmoid_strips<kMasked, true, true>(block);
  else sigmoid_strips<kMasked, true, false>(block);
}

// Without columns' statistics, ids and biases.
template <class Product> void sigmoid_block(const LogitsBlock &block) {
  product_tiles<Product>(block);
  if (block.masked) sigmoids<true>(block);
  else sigmoids<false>(block);
}

}  // namespace infonce::cpu::INFONCE_KERNEL_NAMESPACE

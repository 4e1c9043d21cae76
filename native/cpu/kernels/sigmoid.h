// A block of the sigmoid loss. With t = scale <u_i, v_j> - shift in powers of two, a pair that is no positive has the loss
// softplus(t) = log (1 + 2^t) and its derivative by the logit, 1 / (1 + 2^-t), a positive both of -t, the derivative with
// its sign changed. Nothing is a difference, so that small losses keep their digits.
#pragma once

#include "cpu/kernels/logits.h"

namespace infonce::cpu::INFONCE_KERNEL_NAMESPACE {

constexpr float kLog2 = 0x1.62e430p-1f;

// log(1 + p) for 0 <= p < 2^120, below 2e-7 relative error.
INFONCE_INLINE Floats log1p_floats(Floats p) {
  // 1 + p = 2^whole (1 + f), with 1 + f between the square roots of 1/2 and 2. Of p, not of 1 + p, so that small ones keep
  // their digits.
  const Ints from = 0x3f3504f3 - Ints{};
  const Ints whole = ((Ints)(1.0f + p) - from) >> 23;
  const Floats power = (Floats)((whole + 127) << 23), inverse = (Floats)((127 - whole) << 23);
  const Floats f = (p - (power - 1.0f)) * inverse;
  Floats q = broadcast(0x1.65c790p-4f);
  q = q * f + broadcast(-0x1.2504b4p-3f);
  q = q * f + broadcast(0x1.31852ap-3f);
  q = q * f + broadcast(-0x1.535d2ep-3f);
  q = q * f + broadcast(0x1.98d2bep-3f);
  q = q * f + broadcast(-0x1.00049ap-2f);
  q = q * f + broadcast(0x1.5556f4p-2f);
  q = q * f + broadcast(-0x1.fffffap-2f);
  q = q * f + broadcast(1.0f);
  return q * f + __builtin_convertvector(whole, Floats) * broadcast(kLog2);
}

// Statistics of a row's strips, as RowLanes. The loss is log(2) linear + log(1 + product), product + 1 being the product of
// all 1 + 2^-|t|: one logarithm for many pairs.
struct SigmoidLanes {
  float *linear, *product, *slope;  // [row_count][kLanes]
  RowCount *above;                  // [row_count]
};

// (1 + x) (1 + y) - 1
INFONCE_INLINE Floats times(Floats x, Floats y) { return x + y * (1.0f + x); }

// Columns first ... first + V vectors of the block, all rows: dot products in, derivatives out.
template <int V, bool kMasked, bool kStatistics, bool kCounts>
INFONCE_NOINLINE void sigmoid_strip(const LogitsBlock &block, int first, SigmoidLanes lanes) {
  const Floats scale = broadcast(block.scale), shift = broadcast(block.shift);
  const Ints sign = INT32_MIN - Ints{}, earlier = (first > 0 ? -1 : 0) - Ints{};
  const auto begun = [&](const float *lane) { return (Floats)((Ints)load(lane) & earlier); };
  Ints column_group[V] = {};
  INFONCE_UNROLL for (int v = 0; v < V; ++v) {
    if (kMasked) column_group[v] = load_ints(block.column_group + first + v * kLanes);
  }
  for (int r = 0; r < block.row_count; ++r) {
    float *out = block.exponentials + r * block.stride + first;
    Floats linear{}, product{}, slopes{}, row_rank{};
    RowCount above{};
    if (kStatistics) {
      linear = begun(lanes.linear + r * kLanes);
      product = begun(lanes.product + r * kLanes);
      slopes = begun(lanes.slope + r * kLanes);
      if (kCounts) {
        if (first > 0) above = lanes.above[r];
        row_rank = broadcast(block.row_rank[r]);
      }
    }
    // Of each pair: t, less than 0 where its loss is small; 2^-|t|.
    Floats t[V], x[V];
    Ints positive[V] = {}, padding[V] = {};
    INFONCE_UNROLL for (int v = 0; v < V; ++v) {
      t[v] = load(out + v * kLanes) * scale - shift;
      if (kMasked) {
        const Ints row_group = block.row_group[r] - Ints{};
        positive[v] = row_group == column_group[v];
        padding[v] = (row_group | column_group[v]) < 0;
        t[v] = (Floats)((Ints)t[v] ^ (positive[v] & sign));
      }
      x[v] = (Floats)((Ints)t[v] | sign);
    }
    exp2_floats(x);
    INFONCE_UNROLL for (int v = 0; v < V; ++v) {
      Floats dot = load(out + v * kLanes);
      Floats slope = quotient(where_negative(t[v], x[v], broadcast(1.0f)), 1.0f + x[v]);
      Floats steep = at_least(t[v], Floats{});
      if (kMasked) {
        x[v] = (Floats)((Ints)x[v] & ~padding[v]);
        slope = (Floats)(((Ints)slope ^ (positive[v] & sign)) & ~padding[v]);
        steep = (Floats)((Ints)steep & ~padding[v]);
        const Ints none = positive[v] | padding[v];
        if (kCounts) dot = (Floats)(((Ints)dot & ~none) | ((Ints)broadcast(-__builtin_inff()) & none));
      }
      store(out + v * kLanes, slope);
      if (!kStatistics) continue;
      linear += steep;
      slopes += slope;
      if (kCounts) above += count_greater(dot, row_rank);
    }
    if (!kStatistics) continue;
    // In twos first: 1 + x is there already, and the chain of products is half as long.
    INFONCE_UNROLL for (int v = 0; v < V; v += 2) product = times(product, times(x[v], x[v + 1]));
    store(lanes.linear + r * kLanes, linear);
    store(lanes.product + r * kLanes, product);
    store(lanes.slope + r * kLanes, slopes);
    if (kCounts) lanes.above[r] = above;
  }
}

// Lane r of the result is log(1 + product) over the lanes of rows[r]; those of half a row are multiplied first, below
// 2^(kMaxBlock / 2).
template <int H = 1> INFONCE_INLINE Floats row_logarithms(Floats (&rows)[kLanes]) {
  if constexpr (2 * H < kLanes) {
    INFONCE_UNROLL for (int i = 0; i < kLanes; i += 2 * H) {
      const Floats x = rows[i], y = rows[i + H];
      rows[i] = times(low_lanes<H>(x, y), high_lanes<H>(x, y));
    }
    return row_logarithms<2 * H>(rows);
  } else {
    const Floats x = log1p_floats(rows[0]), y = log1p_floats(rows[H]);
    return low_lanes<H>(x, y) + high_lanes<H>(x, y);
  }
}

template <bool kMasked, bool kStatistics, bool kCounts> void sigmoid_strips(const LogitsBlock &block) {
  constexpr int kStripVectors = 4;
  const int size = block.row_count * kLanes;
  const SigmoidLanes lanes = {block.scratch, block.scratch + size, block.scratch + 2 * size,
                              reinterpret_cast<RowCount *>(block.scratch + 3 * size)};
  int column = 0;
  for (; column + kStripVectors * kLanes <= block.column_count; column += kStripVectors * kLanes)
    sigmoid_strip<kStripVectors, kMasked, kStatistics, kCounts>(block, column, lanes);
  for (; column < block.column_count; column += kPanel)
    sigmoid_strip<2, kMasked, kStatistics, kCounts>(block, column, lanes);
  if (!kStatistics) return;
  for (int row = 0; row < block.row_count; row += kLanes) {
    const int lane = row * kLanes;
    Floats products[kLanes];
    INFONCE_UNROLL for (int r = 0; r < kLanes; ++r) products[r] = load(lanes.product + lane + r * kLanes);
    const Floats steep = row_sums_of(lanes.linear + lane) * broadcast(kLog2);
    store(block.row_sum + row, steep + row_logarithms(products));
    store(block.row_slope + row, row_sums_of(lanes.slope + lane));
    if (kCounts) store(block.row_above + row, row_counts_of(lanes.above + row));
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

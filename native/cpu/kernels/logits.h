// A block of exponentials e_ij = 2^(scale <u_i, v_j> - shift) with its row and column sums and, if they are asked for, the
// counts of logits above each row's and column's positive. Sums leave in fixed places, so any order of blocks gives the same bits.
//
// Two sweeps over the block, which stays in the inner cache: the products by tiles with all registers for accumulators,
// then the exponentials by strips with all registers for their polynomial and the statistics.
#pragma once

#include "cpu/kernels/kernels.h"
#include "cpu/kernels/tile.h"

namespace infonce::cpu::INFONCE_KERNEL_NAMESPACE {

// Dot products of float32 rows; bfloat16_kernels.cc has its own.
struct FloatProduct {
  template <int R>
  static INFONCE_INLINE void multiply(Tile<float, R> &dots, const Operand<float> &rows, const Operand<float> &columns,
                                      int64_t row, int64_t column) {
    const float *a = rows.depth_panels + row / kPanel * kPanel * rows.padded_dim + row % kPanel;
    const float *b = columns.depth_panels + column * columns.padded_dim;
    dots.template multiply<0>(a, kPanel, b, rows.dim);
  }
};

template <class Product, int R> INFONCE_NOINLINE void product_tile(const LogitsBlock &block, int row, int column) {
  Tile<float, R> dots;
  dots.clear();
  Product::multiply(dots, *block.rows, *block.columns, block.first_row + row, block.first_column + column);
  dots.store_to(block.exponentials + row * block.stride + column, block.stride);
}

template <class Product> void product_tiles(const LogitsBlock &block) {
  for (int column = 0; column < block.column_count; column += kPanel)
    for (int panel = 0; panel < block.row_count; panel += kPanel)
      for_each_tile(kPanel, [&](int row, auto height) {
        product_tile<Product, decltype(height)::value>(block, panel + row, column);
      });
}

// Where the pair (row, column) is not a candidate: one group, or padding.
INFONCE_INLINE Ints excluded(int32_t row_group, Ints column_group) {
  const Ints row = row_group - Ints{};
  return (row == column_group) | ((row | column_group) < 0);
}

// count + 1 where x > y.
INFONCE_INLINE Ints count_above(Ints count, Floats x, Floats y) {
#if defined(__AVX512F__)
  const __mmask16 above = _mm512_cmp_ps_mask((__m512)x, (__m512)y, _CMP_GT_OQ);
  return (Ints)_mm512_mask_sub_epi32((__m512i)count, above, (__m512i)count, _mm512_set1_epi32(-1));
#else
  return count - (x > y);
#endif
}

enum class Statistics { kNone, kRows, kBoth };

// Conditions besides dot products: none, groups, groups with ids and biases, or also thresholds.
enum class Looks { kNone, kGroups, kAll, kThresholds };

// Statistics of a row's strips, one lane each column modulo the lanes, until row_sums gathers them.
struct RowLanes {
  float *sum;      // [row_count][kLanes]
  int32_t *above;  // [row_count][kLanes]
};

// Columns first ... first + V vectors of the block, all rows: dot products in, exponentials out.
template <int V, Looks kLooks, Statistics kStatistics, bool kCounts>
INFONCE_NOINLINE void exponential_strip(const LogitsBlock &block, int first, RowLanes lanes) {
  constexpr bool kOfRows = kStatistics != Statistics::kNone, kOfColumns = kStatistics == Statistics::kBoth;
  constexpr bool kMasked = kLooks != Looks::kNone, kByThreshold = kLooks == Looks::kThresholds;
  constexpr bool kAll = kLooks == Looks::kAll || kByThreshold;
  const bool by_id = kAll && block.row_id, has_bias = kAll && block.column_bias;
  const Floats scale = broadcast(block.scale), shift = broadcast(block.shift);
  const Ints earlier = (first > 0 ? -1 : 0) - Ints{};  // the first strip finds nothing to add to
  Floats column_sum[V] = {}, column_rank[V] = {};
  Ints column_above[V] = {}, column_group[V] = {}, column_id[V] = {};
  Floats column_bias[V] = {};
  INFONCE_UNROLL for (int v = 0; v < V; ++v) {
    if (kMasked) column_group[v] = load_ints(block.column_group + first + v * kLanes);
    if (by_id) column_id[v] = load_ints(block.column_id + first + v * kLanes);
    if (has_bias) column_bias[v] = load(block.column_bias + first + v * kLanes);
    if (kOfColumns && kCounts) column_rank[v] = load(block.column_rank + first + v * kLanes);
  }
  for (int r = 0; r < block.row_count; ++r) {
    float *e = block.exponentials + r * block.stride + first;
    const float *compared = e;
    Floats most{};
    if (kByThreshold) {
      if (block.threshold->dots) compared = block.threshold->dots + r * block.stride + first;
      most = broadcast(block.threshold->most[r]);
    }
    Floats row_sum{}, row_rank{};
    Ints row_above{};
    if (kOfRows) {
      row_sum = (Floats)((Ints)load(lanes.sum + r * kLanes) & earlier);
      if (kCounts) {
        row_above = load_ints(lanes.above + r * kLanes) & earlier;
        row_rank = broadcast(block.row_rank[r]);
      }
    }
    Floats dots[V], exponentials[V];
    INFONCE_UNROLL for (int v = 0; v < V; ++v) {
      dots[v] = load(e + v * kLanes);
      if (kAll) dots[v] += column_bias[v];
      exponentials[v] = dots[v] * scale - shift;
    }
    exp2_floats(exponentials);
    INFONCE_UNROLL for (int v = 0; v < V; ++v) {
      Floats dot = dots[v], exponential = exponentials[v];
      Ints above{};
      if (kByThreshold) above = load(compared + v * kLanes) > most;
      if (kMasked) {
        Ints out = excluded(block.row_group[r], column_group[v]);
        if (by_id) out |= block.row_id[r] - Ints{} == column_id[v];
        if (kByThreshold) out |= above;
        exponential = (Floats)((Ints)exponential & ~out);
        if (kCounts) dot = (Floats)(((Ints)dot & ~out) | ((Ints)broadcast(-__builtin_inff()) & out));
      }
      store(e + v * kLanes, exponential);
      if (kOfRows) {
        row_sum += exponential;
        if (kCounts) row_above = count_above(row_above, dot, row_rank);
      }
      if (kOfColumns) {
        column_sum[v] += exponential;
        if (kCounts) column_above[v] = count_above(column_above[v], dot, column_rank[v]);
      }
    }
    if (kOfRows) {
      store(lanes.sum + r * kLanes, row_sum);
      if (kCounts) store(lanes.above + r * kLanes, row_above);
    }
  }
  if (!kOfColumns) return;
  INFONCE_UNROLL for (int v = 0; v < V; ++v) {
    store(block.column_sum + first + v * kLanes, column_sum[v]);
    if (kCounts) store(block.column_above + first + v * kLanes, __builtin_convertvector(column_above[v], Floats));
  }
}

template <Looks kLooks, Statistics kStatistics, bool kCounts> void exponential_strips(const LogitsBlock &block) {
  constexpr int kStripVectors =
      kLanes == 16 ? 4 : 2;  // vectors a strip that leave room for the statistics in registers
  const RowLanes lanes = {block.scratch, reinterpret_cast<int32_t *>(block.scratch + block.row_count * kLanes)};
  int column = 0;
  for (; column + kStripVectors * kLanes <= block.column_count; column += kStripVectors * kLanes)
    exponential_strip<kStripVectors, kLooks, kStatistics, kCounts>(block, column, lanes);
  for (; column < block.column_count; column += kPanel)
    exponential_strip<2, kLooks, kStatistics, kCounts>(block, column, lanes);
  if (kStatistics == Statistics::kNone) return;
  for (int row = 0; row < block.row_count; row += kLanes) {
    store(block.row_sum + row, row_sums_of(lanes.sum + row * kLanes));
    if (kCounts) store(block.row_above + row, row_sums_of(lanes.above + row * kLanes));
  }
}

template <Looks kLooks, bool kCounts> void with_statistics(const LogitsBlock &block) {
  if (block.column_sum) exponential_strips<kLooks, Statistics::kBoth, kCounts>(block);
  else exponential_strips<kLooks, Statistics::kRows, kCounts>(block);
}

template <Looks kLooks> void exponentials(const LogitsBlock &block) {
  if (!block.row_sum) exponential_strips<kLooks, Statistics::kNone, false>(block);
  else if (block.row_above) with_statistics<kLooks, true>(block);
  else with_statistics<kLooks, false>(block);
}

// Where a row's dot products are near its threshold: those that are above it exactly become larger than all others. In
// pairs that are left out anyway nothing is decided.
inline void decide_near(const LogitsBlock &block, int r, float *dots) {
  const Threshold &threshold = *block.threshold;
  for (int c = 0; c < block.column_count; ++c) {
    if (!(dots[c] > threshold.near[r]) || dots[c] > threshold.most[r]) continue;
    if (block.row_group[r] == block.column_group[c] || (block.row_group[r] | block.column_group[c]) < 0) continue;
    if (threshold.is_above(threshold.asked, block.first_row + r, block.first_column + c)) dots[c] = __builtin_inff();
  }
}

template <class Product> void compare(const LogitsBlock &block) {
  const Threshold &threshold = *block.threshold;
  float *dots = block.exponentials;
  if (threshold.rows) {
    LogitsBlock guide = block;
    guide.rows = threshold.rows;
    guide.columns = threshold.columns;
    guide.exponentials = dots = threshold.dots;
    product_tiles<Product>(guide);
  }
  for (int r = 0; threshold.near && r < block.row_count; ++r, dots += block.stride) {
    const Floats near = broadcast(threshold.near[r]), most = broadcast(threshold.most[r]);
    Ints any{};
    for (int c = 0; c < block.column_count; c += kLanes) {
      const Floats dot = load(dots + c);
      any |= (dot > near) & ~(dot > most);
    }
    bool is_near = false;
    INFONCE_UNROLL for (int lane = 0; lane < kLanes; ++lane) is_near |= any[lane] != 0;
    if (is_near) decide_near(block, r, dots);
  }
}

template <class Product> void logits_block(const LogitsBlock &block) {
  product_tiles<Product>(block);
  if (block.threshold) {
    compare<Product>(block);
    exponentials<Looks::kThresholds>(block);
  } else if (block.row_id || block.column_bias) exponentials<Looks::kAll>(block);
  else if (block.masked) exponentials<Looks::kGroups>(block);
  else exponentials<Looks::kNone>(block);
}

}  // namespace infonce::cpu::INFONCE_KERNEL_NAMESPACE

// A block of exponentials e_ij = 2^(scale <u_i, v_j> - shift) with its row and column sums, and the counts of logits
// above each row's and column's positive. Sums leave in fixed places, so any order of blocks gives the same bits.
#pragma once

#include "cpu/kernels/kernels.h"
#include "cpu/kernels/tile.h"

namespace infonce::cpu::INFONCE_KERNEL_NAMESPACE {

enum class Statistics { kNone, kRows, kBoth };

INFONCE_INLINE Ints load_ints(const int32_t *p) {
  Ints v;
  memcpy(&v, p, sizeof v);
  return v;
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

// From dot products in registers to exponentials and statistics.
template <int R, bool kMasked, Statistics kStatistics>
INFONCE_INLINE void finish_logits(const Tile<float, R> &dots, const LogitsBlock &block, int row, int column,
                                  float *row_lanes, int32_t *above_lanes) {
  const Floats scale = broadcast(block.scale), shift = broadcast(block.shift);
  float *out = block.exponentials + int64_t(row) * block.stride + column;
  const int64_t i = block.first_row + row, j = block.first_column + column;
  Floats column_sum[2] = {}, column_rank[2] = {};
  Ints column_above[2] = {}, column_group[2] = {};
  INFONCE_UNROLL for (int half = 0; half < 2; ++half) {
    if (kMasked) column_group[half] = load_ints(block.column_group + j + half * kLanes);
    if (kStatistics == Statistics::kBoth) column_rank[half] = load(block.column_rank + j + half * kLanes);
  }
  INFONCE_UNROLL for (int r = 0; r < R; ++r) {
    float *const sum_lanes = row_lanes + (row + r) * kLanes;
    int32_t *const counts = above_lanes + (row + r) * kLanes;
    Floats row_sum{};
    Ints row_above{};
    if (kStatistics != Statistics::kNone) row_above = load_ints(counts);
    INFONCE_UNROLL for (int half = 0; half < 2; ++half) {
      Floats dot = dots.at[r][half];
      Floats e = exp2_floats(dot * scale - shift);
      if (kMasked) {
        const Ints out_of_sum = excluded(block.row_group[i + r], column_group[half]);
        e = zero_where(e, out_of_sum);
        dot = (Floats)(((Ints)dot & ~out_of_sum) | ((Ints)broadcast(-__builtin_inff()) & out_of_sum));
      }
      store(out + r * block.stride + half * kLanes, e);
      if (kStatistics != Statistics::kNone) {
        row_sum += e;
        row_above = count_above(row_above, dot, broadcast(block.row_rank[i + r]));
      }
      if (kStatistics == Statistics::kBoth) {
        column_sum[half] += e;
        column_above[half] = count_above(column_above[half], dot, column_rank[half]);
      }
    }
    if (kStatistics != Statistics::kNone) {
      store(sum_lanes, load(sum_lanes) + row_sum);
      store(counts, row_above);
    }
  }
  if (kStatistics == Statistics::kBoth) {
    INFONCE_UNROLL for (int half = 0; half < 2; ++half) {
      float *sum = block.column_sum + column + half * kLanes, *above = block.column_above + column + half * kLanes;
      store(sum, load(sum) + column_sum[half]);
      store(above, load(above) + __builtin_convertvector(column_above[half], Floats));
    }
  }
}

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

template <class Product, int R, bool kMasked, Statistics kStatistics>
INFONCE_NOINLINE void logits_tile(const LogitsBlock &block, int row, int column, float *row_lanes,
                                 int32_t *above_lanes) {
  Tile<float, R> dots;
  dots.clear();
  Product::multiply(dots, *block.rows, *block.columns, block.first_row + row, block.first_column + column);
  finish_logits<R, kMasked, kStatistics>(dots, block, row, column, row_lanes, above_lanes);
}

template <class Product, bool kMasked, Statistics kStatistics> void logits_tiles(const LogitsBlock &block) {
  float *row_lanes = block.scratch;
  int32_t *above_lanes = reinterpret_cast<int32_t *>(block.scratch + block.row_count * kLanes);
  if (kStatistics != Statistics::kNone) memset(row_lanes, 0, 2 * sizeof(float) * kLanes * block.row_count);
  if (kStatistics == Statistics::kBoth) {
    memset(block.column_sum, 0, sizeof(float) * block.column_count);
    memset(block.column_above, 0, sizeof(float) * block.column_count);
  }
  for (int column = 0; column < block.column_count; column += kPanel)
    for (int panel = 0; panel < block.row_count; panel += kPanel)
      for_each_tile(kPanel, [&](int row, auto height) {
        logits_tile<Product, decltype(height)::value, kMasked, kStatistics>(block, panel + row, column, row_lanes,
                                                                            above_lanes);
      });
  if (kStatistics == Statistics::kNone) return;
  for (int row = 0; row < block.row_count; row += kLanes) {
    Floats sums[kLanes], counts[kLanes];
    INFONCE_UNROLL for (int r = 0; r < kLanes; ++r) {
      sums[r] = load(row_lanes + (row + r) * kLanes);
      counts[r] = __builtin_convertvector(load_ints(above_lanes + (row + r) * kLanes), Floats);
    }
    store(block.row_sum + row, row_sums(sums));
    store(block.row_above + row, row_sums(counts));
  }
}

template <class Product> void logits_block(const LogitsBlock &block) {
  const auto run = [&](auto masked) {
    constexpr bool kMasked = decltype(masked)::value;
    if (block.column_sum) logits_tiles<Product, kMasked, Statistics::kBoth>(block);
    else if (block.row_sum) logits_tiles<Product, kMasked, Statistics::kRows>(block);
    else logits_tiles<Product, kMasked, Statistics::kNone>(block);
  };
  if (block.masked) run(TileHeight<1>{});
  else run(TileHeight<0>{});
}

}  // namespace infonce::cpu::INFONCE_KERNEL_NAMESPACE

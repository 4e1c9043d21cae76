// The float64 passes: a block of rows against every row of the other side, logits kept with a running maximum, so that
// logits up to about 1e12 are held. Slower than the float32 scheme; used where that one's constant shift is unsafe.
#pragma once

#include "cpu/kernels/kernels.h"
#include "cpu/kernels/tile.h"

namespace infonce::cpu::INFONCE_KERNEL_NAMESPACE {

constexpr int kFloat64Panel = 2 * kDoubleLanes;
constexpr int kFloat64TileRows = kLanes == 16 ? 8 : 4;  // divides the float64 panel

template <int R>
INFONCE_NOINLINE void float64_product(const double *a, int64_t step, const double *b, int64_t depth, double *out,
                                      int stride) {
  Tile<double, R> sum;
  sum.clear();
  sum.template multiply<0>(a, step, b, depth);
  sum.store_to(out, stride);
}

// Dot products of the owner's rows with columns first ... first + count, into scratch [rows][kFloat64Columns]. Whole panels:
// what lies behind the rows and columns is padding.
INFONCE_INLINE void float64_dots_of(const Float64Rows &rows, const Operand<double> &owner, const Operand<double> &other,
                                    int64_t first, int count, double *scratch) {
  for (int column = 0; column < count; column += kFloat64Panel)
    for (int panel = 0; panel < rows.count; panel += kFloat64Panel)
      for_each_tile<kFloat64TileRows>(kFloat64Panel, [&](int row, auto height) {
        float64_product<decltype(height)::value>(owner.depth_panels + (rows.first + panel) * owner.padded_dim + row,
                                                 kFloat64Panel,
                                                 other.depth_panels + (first + column) * other.padded_dim, owner.dim,
                                                 scratch + (panel + row) * kFloat64Columns + column, kFloat64Columns);
      });
}
INFONCE_INLINE void float64_dots(const Float64Rows &rows, int64_t first, int count) {
  float64_dots_of(rows, *rows.owner, *rows.other, first, count, rows.scratch);
  if (rows.owner_guide) float64_dots_of(rows, *rows.owner_guide, *rows.other_guide, first, count, rows.guide_scratch);
}

INFONCE_INLINE Longs load_longs(const int32_t *numbers) {
  typedef int32_t HalfInts __attribute__((vector_size(kLanes * 2)));
  HalfInts half;
  memcpy(&half, numbers, sizeof half);
  return __builtin_convertvector(half, Longs);
}

// Of the owner's row i and the other side's rows j ..., whose dot products stand at `dots` in the scratch. kAll: not by
// groups alone, but by ids and thresholds, and there are biases.
template <bool kAll>
INFONCE_INLINE Longs float64_excluded(const Float64Rows &rows, int64_t i, int64_t j, const double *dots) {
  const Longs column = load_longs(rows.other_group + j), row = int64_t(rows.owner_group[i]) - Longs{};
  Longs out = (row == column) | ((row | column) < 0);
  if (kAll && rows.owner_id) out |= int64_t(rows.owner_id[i]) - Longs{} == load_longs(rows.other_id + j);
  if (kAll && (rows.owner_most || rows.other_most)) {
    const Doubles compared = load(rows.owner_guide ? rows.guide_scratch + (dots - rows.scratch) : dots);
    out |= compared > (rows.owner_most ? broadcast(rows.owner_most[i]) : load(rows.other_most + j));
  }
  return out;
}

// Their dot products, to which the bias is added.
template <bool kAll>
INFONCE_INLINE Doubles float64_cosines(const Float64Rows &rows, int64_t i, int64_t j, const double *dots) {
  Doubles dot = load(dots);
  if (kAll && rows.owner_bias) dot += broadcast(rows.owner_bias[i]);
  if (kAll && rows.other_bias) dot += load(rows.other_bias + j);
  return dot;
}

INFONCE_INLINE Doubles choose(Longs mask, Doubles yes, Doubles no) {
  return (Doubles)(((Longs)yes & mask) | ((Longs)no & ~mask));
}

INFONCE_INLINE double largest(Doubles v) {
  double m = v[0];
  INFONCE_UNROLL for (int lane = 1; lane < kDoubleLanes; ++lane) m = v[lane] > m ? v[lane] : m;
  return m;
}

template <bool kCounts, bool kAll> void float64_log_sum_exp_of(const Float64LogSumExp &rows) {
  const Doubles minus_infinity = broadcast(-__builtin_inf()), scale = broadcast(rows.scale);
  for (int64_t first = rows.other_first; first < rows.other_end; first += kFloat64Columns) {
    const int64_t left = rows.other_end - first;
    const int count = left < kFloat64Columns ? int(left) : kFloat64Columns;
    float64_dots(rows, first, count);
    for (int r = 0; r < rows.count; ++r) {
      double *logits = rows.scratch + r * kFloat64Columns;
      Doubles best = minus_infinity;
      Longs above{};
      for (int c = 0; c < count; c += kDoubleLanes) {
        const Longs out = float64_excluded<kAll>(rows, rows.first + r, first + c, logits + c);
        const Doubles cosine = float64_cosines<kAll>(rows, rows.first + r, first + c, logits + c);
        const Doubles dot = choose(out, minus_infinity, cosine);
        if (kCounts) above -= dot > broadcast(rows.owner_rank[rows.first + r]);
        const Doubles s = choose(out, minus_infinity, cosine * scale);
        store(logits + c, s);
        best = choose(s > best, s, best);
      }
      if (kCounts) rows.above[r] += sum(__builtin_convertvector(above, Doubles));
      const double block_maximum = largest(best);
      if (block_maximum == -__builtin_inf()) continue;
      if (block_maximum > rows.maximum[r]) {
        rows.sum[r] *= exp_doubles(broadcast(rows.maximum[r] - block_maximum))[0];
        rows.maximum[r] = block_maximum;
      }
      Doubles total{};
      for (int c = 0; c < count; c += kDoubleLanes) total += exp_doubles(load(logits + c) - broadcast(rows.maximum[r]));
      rows.sum[r] += sum(total);
    }
  }
}

inline bool looks_at_all(const Float64Rows &rows) {
  return rows.owner_id || rows.owner_bias || rows.other_bias || rows.owner_most || rows.other_most;
}

inline void float64_log_sum_exp(const Float64LogSumExp &rows) {
  if (looks_at_all(rows))
    return rows.above ? float64_log_sum_exp_of<true, true>(rows) : float64_log_sum_exp_of<false, true>(rows);
  if (rows.above) float64_log_sum_exp_of<true, false>(rows);
  else float64_log_sum_exp_of<false, false>(rows);
}

template <int R>
INFONCE_NOINLINE void float64_gradient_tile(const double *w, const double *other, int64_t depth, double *accumulators) {
  Tile<double, R> sum;
  sum.clear();
  sum.template multiply<kFloat64Columns>(w, 0, other, depth);
  sum.add_to(accumulators);
}

template <bool kAll> void float64_gradient_of(const Float64Gradient &rows) {
  const Operand<double> &other = *rows.other;
  const Doubles scale = broadcast(rows.scale);
  const int panels = (rows.count + kFloat64Panel - 1) / kFloat64Panel * kFloat64Panel;  // the rows and padding
  for (int64_t first = rows.other_first; first < rows.other_end; first += kFloat64Columns) {
    const int64_t left = rows.other_end - first;
    const int count = left < kFloat64Columns ? int(left) : kFloat64Columns;
    float64_dots(rows, first, count);
    for (int r = 0; r < panels; ++r) {
      const int64_t i = rows.first + r;
      double *w = rows.scratch + r * kFloat64Columns;
      for (int c = 0; c < count; c += kDoubleLanes) {
        const Longs out = float64_excluded<kAll>(rows, i, first + c, w + c);
        const Doubles s = float64_cosines<kAll>(rows, i, first + c, w + c) * scale;
        Doubles weight{};
        if (rows.owner_weight)
          weight += broadcast(rows.owner_weight[i]) * exp_doubles(s - broadcast(rows.owner_lse[i]));
        if (rows.other_weight)
          weight += load(rows.other_weight + first + c) * exp_doubles(s - load(rows.other_lse + first + c));
        store(w + c, choose(out, Doubles{}, weight));
      }
    }
    for (int64_t d = 0; d < other.padded_dim; d += kFloat64Panel)
      for_each_tile<kFloat64TileRows>(panels, [&](int row, auto height) {
        float64_gradient_tile<decltype(height)::value>(
            rows.scratch + row * kFloat64Columns, other.row_panels + d * other.padded_rows + first * kFloat64Panel,
            count, rows.accumulators + d * rows.accumulator_rows + row * kFloat64Panel);
      });
  }
}

inline void float64_gradient(const Float64Gradient &rows) {
  if (looks_at_all(rows)) float64_gradient_of<true>(rows);
  else float64_gradient_of<false>(rows);
}

}  // namespace infonce::cpu::INFONCE_KERNEL_NAMESPACE

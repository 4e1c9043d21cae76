// precision 'medium' with AVX512-BF16: both matrix products on vdpbf16ps, two multiply-adds a lane where float32 has one.
// Everything else, and every sum, is the float32 table's.
#include "cpu/kernels/gradient.h"
#include "cpu/kernels/kernels.h"
#include "cpu/kernels/logits.h"
#include "cpu/kernels/peak.h"
#include "cpu/kernels/prepare.h"
#include "cpu/kernels/sigmoid.h"

namespace infonce::cpu::INFONCE_KERNEL_NAMESPACE {
namespace {

constexpr int kPairStride = kGradientDepth / 2 + 16;

INFONCE_INLINE Ints load_pairs(const uint32_t *p) { return load_ints(reinterpret_cast<const int32_t *>(p)); }

INFONCE_INLINE Floats multiply_pairs(Floats sum, Ints a, Ints b) {
  return (Floats)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
}

// Lane i: (low[i], high[i]).
INFONCE_INLINE Ints interleave(Floats low, Floats high) {
  const __m512i l = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)low));
  const __m512i h = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)high));
  return (Ints)_mm512_or_si512(l, _mm512_slli_epi32(h, 16));
}

// Lane i: (x[2i], x[2i + 1]) of 32 floats.
INFONCE_INLINE Ints neighbours(Floats first, Floats second) {
  return (Ints)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
}

// As Tile::multiply, two steps of depth at a time.
template <int kRowStride, int R>
INFONCE_INLINE void multiply(Tile<float, R> &tile, const uint32_t *a, int64_t step, const uint32_t *b, int64_t pairs) {
  for (int64_t k = 0; k < pairs; ++k) {
    const Ints b0 = load_pairs(b), b1 = load_pairs(b + kLanes);
    INFONCE_UNROLL for (int r = 0; r < R; ++r) {
      const Ints x = int32_t(a[kRowStride ? r * kRowStride : r]) - Ints{};
      tile.at[r][0] = multiply_pairs(tile.at[r][0], x, b0);
      tile.at[r][1] = multiply_pairs(tile.at[r][1], x, b1);
    }
    a += kRowStride ? 1 : step;
    b += kPanel;
  }
}

PreparedRows prepare(const float *source, int64_t source_stride, int64_t rows, bool normalize, Operand<float> *operand,
                     int64_t first, int64_t count) {
  const PreparedRows prepared =
      avx512::kernels().float32.prepare(source, source_stride, rows, normalize, operand, first, count);
  if (!operand->row_pairs) return prepared;
  for (int64_t d = 0; d < operand->padded_dim; d += kPanel) {
    const float *panel = operand->row_panels + d * operand->padded_rows;
    uint32_t *row_pairs = operand->row_pairs + d * operand->padded_rows / 2;
    for (int64_t i = first; i < first + count; i += 2)
      for (int half = 0; half < kPanel; half += kLanes)
        store(row_pairs + i / 2 * kPanel + half,
              interleave(load(panel + i * kPanel + half), load(panel + (i + 1) * kPanel + half)));
    for (int64_t i = first; i < first + count; i += kLanes) {
      Floats square[kLanes];
      INFONCE_UNROLL for (int r = 0; r < kLanes; ++r) {
        square[r] = (Floats)neighbours(load(panel + (i + r) * kPanel), load(panel + (i + r) * kPanel + kLanes));
      }
      transpose(square);
      uint32_t *depth =
          operand->depth_pairs + i / kPanel * kPanel * operand->padded_dim / 2 + d / 2 * kPanel + i % kPanel;
      INFONCE_UNROLL for (int k = 0; k < kLanes; ++k) store(depth + k * kPanel, square[k]);
    }
  }
  return prepared;
}

INFONCE_INLINE const uint32_t *depth_pairs_of(const Operand<float> &operand, int64_t row) {
  return operand.depth_pairs + row / kPanel * kPanel * operand.padded_dim / 2 + row % kPanel;
}

struct BfloatProduct {
  template <int R>
  static INFONCE_INLINE void multiply(Tile<float, R> &dots, const Operand<float> &rows, const Operand<float> &columns,
                                      int64_t row, int64_t column) {
    avx512bf16::multiply<0>(dots, depth_pairs_of(rows, row), kPanel, depth_pairs_of(columns, column),
                            (rows.dim + 1) / 2);
  }
};

void ranking_dots(const Operand<float> &rows, int64_t first, int count, const Operand<float> &partners,
                  const int64_t *partner, float *dots) {
  for (int r = 0; r < count; r += kLanes) {
    const uint32_t *a = depth_pairs_of(rows, first + r), *b[kLanes];
    for (int lane = 0; lane < kLanes; ++lane)
      b[lane] = depth_pairs_of(partners, partner[r + lane] < 0 ? 0 : partner[r + lane]);
    Floats total{};
    for (int64_t k = 0; k < (rows.dim + 1) / 2; ++k) {
      Ints y;
      INFONCE_UNROLL for (int lane = 0; lane < kLanes; ++lane) y[lane] = int32_t(b[lane][k * kPanel]);
      total = multiply_pairs(total, load_pairs(a + k * kPanel), y);
    }
    store(dots + r, total);
  }
}

// W as pairs along the other side: [owner][kPairStride] of (other, other + 1).
void pack_rows_as_pairs(const GradientPanel &panel, uint32_t *pairs) {
  for (int b = 0; b < panel.block_count; ++b) {
    const int columns = b + 1 < panel.block_count ? panel.block_rows : panel.other_count - b * panel.block_rows;
    const float *e = panel.exponentials[b], *column_weight = panel.other_weight + b * panel.block_rows;
    uint32_t *w = pairs + b * panel.block_rows / 2;
    for (int x = 0; x < panel.owner_count; ++x) {
      const Floats row_weight = broadcast(panel.owner_weight[x]);
      for (int y = 0; y < columns; y += 2 * kLanes) {
        const float *from = e + x * panel.stride + y, *weight = column_weight + y;
        store(w + x * kPairStride + y / 2, neighbours(load(from) * (row_weight + load(weight)),
                                                      load(from + kLanes) * (row_weight + load(weight + kLanes))));
      }
    }
  }
}

// The same for blocks that are read transposed: [other / 2][block columns and a pad] of (other, other + 1).
void pack_columns_as_pairs(const GradientPanel &panel, uint32_t *pairs) {
  const int stride = column_stride(panel);
  for (int b = 0; b < panel.block_count; ++b) {
    const int rows = b + 1 < panel.block_count ? panel.block_rows : panel.other_count - b * panel.block_rows;
    const float *e = panel.exponentials[b], *row_weight = panel.other_weight + b * panel.block_rows;
    uint32_t *w = pairs + b * panel.block_rows / 2 * stride;
    for (int x = 0; x < rows; x += 2) {
      const Floats even = broadcast(row_weight[x]), odd = broadcast(row_weight[x + 1]);
      for (int y = 0; y < panel.owner_count; y += kLanes) {
        const float *from = e + x * panel.stride + y;
        const Floats weight = load(panel.owner_weight + y);
        store(w + x / 2 * stride + y,
              interleave(load(from) * (even + weight), load(from + panel.stride) * (odd + weight)));
      }
    }
  }
}

template <int R, int kRowStride>
INFONCE_NOINLINE void pair_gradient_tile(const uint32_t *w, int64_t stride, const uint32_t *other, int64_t pairs,
                                         float *accumulators, bool accumulate) {
  Tile<float, R> sum;
  sum.clear();
  multiply<kRowStride>(sum, w, stride, other, pairs);
  if (accumulate) sum.add_to(accumulators);
  else sum.store_to(accumulators);
}

template <bool kOwnerIsRow> void pair_gradient_tiles(const GradientPanel &panel, const uint32_t *w) {
  const Operand<float> &other = *panel.other;
  for (int64_t d = 0; d < other.padded_dim; d += kPanel) {
    const uint32_t *b = other.row_pairs + (d * other.padded_rows + panel.other_first * kPanel) / 2;
    float *out = panel.accumulators + d * panel.accumulator_rows;
    for_each_tile(panel.owner_count, [&](int row, auto height) {
      constexpr int kStride = kOwnerIsRow ? kPairStride : 0;
      pair_gradient_tile<decltype(height)::value, kStride>(w + (kOwnerIsRow ? row * kPairStride : row),
                                                           column_stride(panel), b, panel.other_count / 2,
                                                           out + row * kPanel, panel.accumulate);
    });
  }
}

void pair_gradient_panel(const GradientPanel &panel) {
  uint32_t *w = reinterpret_cast<uint32_t *>(panel.scratch);
  if (panel.owner_is_row) {
    pack_rows_as_pairs(panel, w);
    pair_gradient_tiles<true>(panel, w);
  } else {
    pack_columns_as_pairs(panel, w);
    pair_gradient_tiles<false>(panel, w);
  }
}

struct PairStep {
  static constexpr int kFlops = 4 * kLanes;
  Ints a, b;
  PairStep(float factor, float addend)
      : a(neighbours(broadcast(factor), broadcast(addend))), b(neighbours(broadcast(addend), broadcast(factor))) {}
  INFONCE_INLINE Floats operator()(Floats x) const { return multiply_pairs(x, a, b); }
};

Kernels over_float_kernels() {
  Kernels table = avx512::kernels();
  table.bfloat16 = true;
  table.float32.prepare = prepare;
  table.float32.ranking_dots = ranking_dots;
  table.logits_block = logits_block<BfloatProduct>;
  table.sigmoid_block = sigmoid_block<BfloatProduct>;
  table.gradient_panel = pair_gradient_panel;
  table.peak = peak_of<PairStep>();
  return table;
}

}  // namespace

const Kernels &kernels() {
  static const Kernels table = over_float_kernels();
  return table;
}

}  // namespace infonce::cpu::INFONCE_KERNEL_NAMESPACE

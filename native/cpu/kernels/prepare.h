// Input rows to packed unit rows: norm in float64 (no overflow or underflow of squares), finite check on the way.
#pragma once

#include "common/constants.h"
#include "cpu/kernels/kernels.h"
#include "cpu/kernels/simd.h"

namespace infonce::cpu::INFONCE_KERNEL_NAMESPACE {

INFONCE_INLINE double squared_norm(const float *row, int64_t dim) {
  Doubles even{}, odd{};
  int64_t d = 0;
  for (; d + kLanes <= dim; d += kLanes) {
    const Doubles x = widen(row + d), y = widen(row + d + kDoubleLanes);
    even += x * x;
    odd += y * y;
  }
  double total = sum(even + odd);
  for (; d < dim; ++d) total += double(row[d]) * double(row[d]);
  return total;
}

INFONCE_INLINE void scale_row(const float *row, double factor, float *chunk, int64_t chunk_stride, int64_t dim) {
  // A factor outside float32's normal range would lose digits as a float; inside it, its second half keeps the length
  // of the unit row right to more digits than those of its elements.
  const bool in_float = factor > 1e-25 && factor < 1e25;
  const Floats high = broadcast(float(factor)), low = broadcast(float(factor - double(float(factor))));
  for (int64_t d = 0; d < dim; d += kPanel, chunk += chunk_stride) {
    if (in_float && d + kPanel <= dim) {
      const Floats x = load(row + d), y = load(row + d + kLanes);
      store(chunk, x * high + x * low);
      store(chunk + kLanes, y * high + y * low);
      continue;
    }
    for (int64_t c = 0; c < kPanel; ++c) chunk[c] = d + c < dim ? float(row[d + c] * factor) : 0.0f;
  }
}

INFONCE_INLINE void scale_row(const float *row, double factor, double *chunk, int64_t chunk_stride, int64_t dim) {
  constexpr int panel = 2 * kDoubleLanes;
  for (int64_t d = 0; d < dim; d += panel, chunk += chunk_stride)
    for (int64_t c = 0; c < panel; ++c) chunk[c] = d + c < dim ? row[d + c] * factor : 0.0;
}

// One square of a row panel, [panel][panel], to its place in the depth panel.
INFONCE_INLINE void transpose_square(const float *from, float *to) {
  for (int row = 0; row < kPanel; row += kLanes) {
    for (int column = 0; column < kPanel; column += kLanes) {
      Floats square[kLanes];
      INFONCE_UNROLL for (int i = 0; i < kLanes; ++i) square[i] = load(from + (row + i) * kPanel + column);
      transpose(square);
      INFONCE_UNROLL for (int i = 0; i < kLanes; ++i) store(to + (column + i) * kPanel + row, square[i]);
    }
  }
}

INFONCE_INLINE void transpose_square(const double *from, double *to) {
  constexpr int panel = 2 * kDoubleLanes;
  for (int row = 0; row < panel; ++row)
    for (int column = 0; column < panel; ++column) to[column * panel + row] = from[row * panel + column];
}

template <class Scalar>
PreparedRows prepare_rows(const float *source, int64_t source_stride, int64_t rows, bool normalize,
                          Operand<Scalar> *operand, int64_t first, int64_t count) {
  constexpr int panel = 2 * kLanesOf<Scalar>;
  const int64_t dim = operand->dim, chunk_stride = operand->padded_rows * panel;
  PreparedRows prepared = {-1, 0.0};
  for (int64_t i = first; i < first + count; ++i) {
    Scalar *chunk = operand->row_panels + i * panel;
    if (i >= first + rows) {
      for (int64_t d = 0; d < operand->padded_dim; d += panel, chunk += chunk_stride)
        memset(chunk, 0, panel * sizeof *chunk);
      operand->inverse_norm[i] = 0.0;
      operand->radial[i] = 0.0f;
      continue;
    }
    const float *row = source + (i - first) * source_stride;
    const double norm = __builtin_sqrt(squared_norm(row, dim));
    if (!(norm < 1e300) && prepared.first_bad_row < 0) prepared.first_bad_row = i;
    const double inverse = normalize ? 1.0 / (norm > kSmallestNorm ? norm : kSmallestNorm) : 1.0;
    scale_row(row, inverse, chunk, chunk_stride, dim);
    operand->inverse_norm[i] = norm > 0.0 || !normalize ? inverse : 0.0;
    operand->radial[i] = normalize && norm > kSmallestNorm ? 1.0f : 0.0f;
    const double unit = norm * inverse;
    if (unit > prepared.largest_norm) prepared.largest_norm = unit;
  }
  if (operand->depth_panels) {
    for (int64_t i = first; i < first + count; i += panel)
      for (int64_t d = 0; d < operand->padded_dim; d += panel)
        transpose_square(operand->row_panels + d / panel * chunk_stride + i * panel,
                         operand->depth_panels + i * operand->padded_dim + d * panel);
  }
  return prepared;
}

}  // namespace infonce::cpu::INFONCE_KERNEL_NAMESPACE

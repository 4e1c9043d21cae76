// Operations on single packed rows: exact dot products of positives, their share of the gradient, and the chain
// through the normalisation.
#pragma once

#include "cpu/kernels/kernels.h"
#include "cpu/kernels/simd.h"

namespace infonce::cpu::INFONCE_KERNEL_NAMESPACE {

INFONCE_INLINE Doubles widen(const double *p) { return load(p); }

template <class Scalar> double dot(const Operand<Scalar> &a, int64_t i, const Operand<Scalar> &b, int64_t j) {
  constexpr int panel = 2 * kLanesOf<Scalar>;
  const Scalar *x = a.row_panels + i * panel, *y = b.row_panels + j * panel;
  Doubles even{}, odd{};
  for (int64_t d = 0; d < a.padded_dim; d += panel) {
    INFONCE_UNROLL for (int c = 0; c < panel; c += 2 * kDoubleLanes) {
      even += widen(x + c) * widen(y + c);
      odd += widen(x + c + kDoubleLanes) * widen(y + c + kDoubleLanes);
    }
    x += a.padded_rows * panel;
    y += b.padded_rows * panel;
  }
  return sum(even + odd);
}

inline double row_dot(const float *a, const float *b, int64_t dim) {
  Doubles even{}, odd{};
  int64_t d = 0;
  for (; d + kLanes <= dim; d += kLanes) {
    even += widen(a + d) * widen(b + d);
    odd += widen(a + d + kDoubleLanes) * widen(b + d + kDoubleLanes);
  }
  double total = sum(even + odd);
  for (; d < dim; ++d) total += double(a[d]) * double(b[d]);
  return total;
}

// Partners of `lanes` anchors as they lie in the depth panels. Side by side they are one vector, else they are picked.
template <class Scalar> struct PartnerLanes {
  static constexpr int panel = 2 * kLanesOf<Scalar>, lanes = kLanesOf<Scalar>;
  const Scalar *at[lanes];
  bool side_by_side = true;

  PartnerLanes(const Operand<Scalar> &partners, const int64_t *partner) {
    for (int lane = 0; lane < lanes; ++lane) {
      const int64_t p = partner[lane] < 0 ? 0 : partner[lane];
      at[lane] = partners.depth_panels + p / panel * panel * partners.padded_dim + p % panel;
      side_by_side &= at[lane] == at[0] + lane;
    }
  }
  INFONCE_INLINE Vector<Scalar> picked(int64_t k) const {
    Vector<Scalar> y;
    INFONCE_UNROLL for (int lane = 0; lane < lanes; ++lane) y[lane] = at[lane][k * panel];
    return y;
  }
};

// Multiply-adds one after the other along the depth, as the logits product does: equal rows give equal bits, so a
// duplicate of the positive never outranks it. Rows run in the lanes to hide the latency of the chain.
template <class Scalar>
void ranking_dots(const Operand<Scalar> &rows, int64_t first, int count, const Operand<Scalar> &partners,
                  const int64_t *partner, Scalar *dots) {
  constexpr int panel = 2 * kLanesOf<Scalar>, lanes = kLanesOf<Scalar>;
  for (int r = 0; r < count; r += lanes) {
    const int64_t row = first + r;
    const Scalar *a = rows.depth_panels + row / panel * panel * rows.padded_dim + row % panel;
    const PartnerLanes<Scalar> b(partners, partner + r);
    Vector<Scalar> total{};
    if (b.side_by_side) {
      for (int64_t k = 0; k < rows.dim; ++k) total += load(a + k * panel) * load(b.at[0] + k * panel);
    } else {
      for (int64_t k = 0; k < rows.dim; ++k) total += load(a + k * panel) * b.picked(k);
    }
    store(dots + r, total);
  }
}

template <class Scalar>
void add_row(Scalar *accumulators, int64_t accumulator_rows, double weight, const Operand<Scalar> &operand,
             int64_t row) {
  constexpr int panel = 2 * kLanesOf<Scalar>;
  const Scalar *u = operand.row_panels + row * panel;
  const Vector<Scalar> w = broadcast(Scalar(weight));
  for (int64_t d = 0; d < operand.padded_dim; d += panel) {
    INFONCE_UNROLL for (int c = 0; c < panel; c += kLanesOf<Scalar>) {
      store(accumulators + c, load(accumulators + c) + w * load(u + c));
    }
    accumulators += accumulator_rows * panel;
    u += operand.padded_rows * panel;
  }
}

template <class Scalar>
void add_vector(Scalar *accumulators, int64_t accumulator_rows, double weight, const double *vector, int64_t dim) {
  constexpr int panel = 2 * kLanesOf<Scalar>;
  for (int64_t d = 0; d < dim; ++d)
    accumulators[d / panel * panel * accumulator_rows + d % panel] += Scalar(weight * vector[d]);
}

// One panel of (g - radial * u) * factor.
INFONCE_INLINE void project(const float *g, const float *u, double radial, double factor, float *out) {
  if (factor > 1e-30 && factor < 1e30) {
    const Floats r = broadcast(float(radial)), f = broadcast(float(factor));
    INFONCE_UNROLL for (int c = 0; c < kPanel; c += kLanes) store(out + c, (load(g + c) - r * load(u + c)) * f);
  } else {
    // A factor outside float32's normal range would lose digits as a float.
    for (int c = 0; c < kPanel; ++c) out[c] = float((g[c] - radial * u[c]) * factor);
  }
}

INFONCE_INLINE void project(const double *g, const double *u, double radial, double factor, float *out) {
  for (int c = 0; c < 2 * kDoubleLanes; ++c) out[c] = float((g[c] - radial * u[c]) * factor);
}

template <class Scalar> double finish_rows(const FinishRows<Scalar> &rows) {
  constexpr int panel = 2 * kLanesOf<Scalar>;
  const Operand<Scalar> &operand = *rows.operand;
  const int64_t u_stride = operand.padded_rows * panel, g_stride = rows.accumulator_rows * panel, dim = operand.dim;
  double radial_sum = 0;
  for (int r = 0; r < rows.count; ++r) {
    const int64_t i = rows.first + r;
    const Scalar *u = operand.row_panels + i * panel, *g = rows.accumulators + r * panel;
    // Few additions fall to each lane; the lanes are added up in float64.
    Vector<Scalar> dot{}, square{};
    for (int64_t d = 0; d < operand.padded_dim; d += panel, u += u_stride, g += g_stride) {
      INFONCE_UNROLL for (int c = 0; c < panel; c += kLanesOf<Scalar>) {
        const Vector<Scalar> x = load(u + c);
        dot += x * load(g + c);
        square += x * x;
      }
    }
    const double along = sum(dot);
    radial_sum += along * rows.factor;
    // A rounded unit row is not quite of length 1, and what lies along it can be far larger than what remains.
    const double radial = operand.radial[i] > 0 ? along / sum(square) : 0;
    const double factor = rows.factor * operand.inverse_norm[i];
    u = operand.row_panels + i * panel;
    g = rows.accumulators + r * panel;
    float *out = rows.gradient + i * dim;
    for (int64_t d = 0; d < dim; d += panel, u += u_stride, g += g_stride) {
      if (d + panel <= dim) {
        project(g, u, radial, factor, out + d);
      } else {
        float chunk[panel];
        project(g, u, radial, factor, chunk);
        memcpy(out + d, chunk, (dim - d) * sizeof(float));
      }
    }
  }
  return radial_sum;
}

}  // namespace infonce::cpu::INFONCE_KERNEL_NAMESPACE

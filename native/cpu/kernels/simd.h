// Vectors of the instruction set this translation unit is compiled for, on the compiler's vector extensions.
// Kernel files include no C++ library header with code in it: a template instantiated here would carry this
// instruction set's code into the whole program.
#pragma once

#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

#if !defined(__GNUC__) && !defined(__clang__)
#error "The CPU kernels need GCC or Clang (on Windows: clang-cl) for their vector extensions"
#endif

#define INFONCE_INLINE __attribute__((always_inline)) inline
#define INFONCE_NOINLINE __attribute__((noinline))
#if defined(__clang__)
#define INFONCE_UNROLL _Pragma("unroll")
#define INFONCE_UNROLL_4 _Pragma("unroll 4")
#else
#define INFONCE_UNROLL _Pragma("GCC unroll 64")
#define INFONCE_UNROLL_4 _Pragma("GCC unroll 4")
#endif

namespace infonce::cpu::INFONCE_KERNEL_NAMESPACE {

constexpr int kCacheLine = 64;

// Memory to be fetched into the outer cache a few lines at a time, while something else computes.
class Prefetch {
 public:
  Prefetch() = default;
  Prefetch(const void *from, int64_t bytes) : next_((const char *)from), end_(next_ + bytes) {}

  // Cuts off the next `lines` lines.
  Prefetch take(int lines) {
    const char *from = next_;
    next_ = end_ - next_ > lines * kCacheLine ? next_ + lines * kCacheLine : end_;
    return Prefetch(from, next_ - from);
  }
  int64_t lines() const { return (end_ - next_) / kCacheLine; }

  INFONCE_INLINE void line() {
    if (next_ == end_) return;
    __builtin_prefetch(next_, 0, 2);
    next_ += kCacheLine;
  }

 private:
  const char *next_ = nullptr, *end_ = nullptr;
};

#if defined(__AVX512F__)
constexpr int kLanes = 16;
constexpr int kTileRows = 12;  // 24 accumulators, 2 operands, 1 broadcast of 32 registers
#elif defined(__AVX2__)
constexpr int kLanes = 8;
constexpr int kTileRows = 6;  // 12 accumulators of 16 registers
#elif defined(__aarch64__)
constexpr int kLanes = 4;
constexpr int kTileRows = 8;  // 16 accumulators of 32 registers
#else
constexpr int kLanes = 4;
constexpr int kTileRows = 4;  // 8 accumulators of 16 registers
#endif

// A panel is two vectors wide: rows of the logits product, columns of the gradient product.
constexpr int kPanel = 2 * kLanes;

typedef float Floats __attribute__((vector_size(kLanes * 4)));
typedef int32_t Ints __attribute__((vector_size(kLanes * 4)));
typedef double Doubles __attribute__((vector_size(kLanes * 4)));
typedef int64_t Longs __attribute__((vector_size(kLanes * 4)));
typedef float HalfFloats __attribute__((vector_size(kLanes * 2)));
constexpr int kDoubleLanes = kLanes / 2;

template <class Scalar> struct VectorOf;
template <> struct VectorOf<float> {
  typedef Floats Type;
  typedef Ints Mask;
};
template <> struct VectorOf<double> {
  typedef Doubles Type;
  typedef Longs Mask;
};
template <class Scalar> using Vector = typename VectorOf<Scalar>::Type;
template <class Scalar> using Mask = typename VectorOf<Scalar>::Mask;
template <class Scalar> constexpr int kLanesOf = kLanes * 4 / int(sizeof(Scalar));

template <class Scalar> INFONCE_INLINE Vector<Scalar> broadcast(Scalar x) { return x - Vector<Scalar>{}; }

template <class Scalar> INFONCE_INLINE Vector<Scalar> load(const Scalar *p) {
  Vector<Scalar> v;
  memcpy(&v, p, sizeof v);
  return v;
}

INFONCE_INLINE Ints load_ints(const int32_t *p) {
  Ints v;
  memcpy(&v, p, sizeof v);
  return v;
}

template <class V, class Scalar> INFONCE_INLINE void store(Scalar *p, V v) { memcpy(p, &v, sizeof v); }

INFONCE_INLINE Doubles widen(const float *p) {
  HalfFloats half;
  memcpy(&half, p, sizeof half);
  return __builtin_convertvector(half, Doubles);
}

// By halves: compilers make a long chain of the plain loop.
INFONCE_INLINE double sum(Doubles v) {
#if defined(__AVX2__)
#if defined(__AVX512F__)
  const __m256d quarter = _mm256_add_pd(_mm512_castpd512_pd256((__m512d)v), _mm512_extractf64x4_pd((__m512d)v, 1));
#else
  const __m256d quarter = (__m256d)v;
#endif
  const __m128d pair = _mm_add_pd(_mm256_castpd256_pd128(quarter), _mm256_extractf128_pd(quarter, 1));
  return pair[0] + pair[1];
#else
  return v[0] + v[1];
#endif
}

INFONCE_INLINE double sum(Floats v) {
  float lanes[kLanes];
  memcpy(lanes, &v, sizeof lanes);
  return sum(widen(lanes) + widen(lanes + kDoubleLanes));
}

// One level of a butterfly between two vectors: lanes whose index has bit H clear of both, lanes with it set of both.
#if defined(__clang__)
template <int... I> struct Indices {};
template <int N, int... I> struct MakeIndices : MakeIndices<N - 1, N - 1, I...> {};
template <int... I> struct MakeIndices<0, I...> { typedef Indices<I...> Type; };
template <int H, int... I> INFONCE_INLINE Floats low_lanes(Floats x, Floats y, Indices<I...>) {
  return __builtin_shufflevector(x, y, ((I & H) ? kLanes + (I & ~H) : I)...);
}
template <int H, int... I> INFONCE_INLINE Floats high_lanes(Floats x, Floats y, Indices<I...>) {
  return __builtin_shufflevector(x, y, ((I & H) ? kLanes + I : (I | H))...);
}
template <int H> INFONCE_INLINE Floats low_lanes(Floats x, Floats y) {
  return low_lanes<H>(x, y, typename MakeIndices<kLanes>::Type{});
}
template <int H> INFONCE_INLINE Floats high_lanes(Floats x, Floats y) {
  return high_lanes<H>(x, y, typename MakeIndices<kLanes>::Type{});
}
#else
template <int H> INFONCE_INLINE Floats low_lanes(Floats x, Floats y) {
  Ints index;
  INFONCE_UNROLL for (int i = 0; i < kLanes; ++i) index[i] = (i & H) ? kLanes + (i & ~H) : i;
  return __builtin_shuffle(x, y, index);
}
template <int H> INFONCE_INLINE Floats high_lanes(Floats x, Floats y) {
  Ints index;
  INFONCE_UNROLL for (int i = 0; i < kLanes; ++i) index[i] = (i & H) ? kLanes + i : (i | H);
  return __builtin_shuffle(x, y, index);
}
#endif

// Lane r of the result is the sum over the lanes of rows[r].
template <int H = 1> INFONCE_INLINE Floats row_sums(Floats (&rows)[kLanes]) {
  INFONCE_UNROLL for (int i = 0; i < kLanes; i += 2 * H) {
    const Floats x = rows[i], y = rows[i + H];
    rows[i] = low_lanes<H>(x, y) + high_lanes<H>(x, y);
  }
  if constexpr (2 * H < kLanes) return row_sums<2 * H>(rows);
  return rows[0];
}

// Lane r of the result is the sum over the lanes of row r, which lie one behind another.
INFONCE_INLINE Floats row_sums_of(const float *lanes) {
  Floats rows[kLanes];
  INFONCE_UNROLL for (int r = 0; r < kLanes; ++r) rows[r] = load(lanes + r * kLanes);
  return row_sums(rows);
}

INFONCE_INLINE Floats row_sums_of(const int32_t *lanes) {
  Floats rows[kLanes];
  INFONCE_UNROLL for (int r = 0; r < kLanes; ++r) rows[r] =
      __builtin_convertvector(load_ints(lanes + r * kLanes), Floats);
  return row_sums(rows);
}

template <int H = 1> INFONCE_INLINE void transpose(Floats (&rows)[kLanes]) {
  INFONCE_UNROLL for (int i = 0; i < kLanes; ++i) {
    if (i & H) continue;
    const Floats x = rows[i], y = rows[i | H];
    rows[i] = low_lanes<H>(x, y);
    rows[i | H] = high_lanes<H>(x, y);
  }
  if constexpr (2 * H < kLanes) transpose<2 * H>(rows);
}

// t, or `least` where it is less; where t is no number, t.
INFONCE_INLINE Floats at_least(Floats t, Floats least) {
#if defined(__AVX512F__)
  return (Floats)_mm512_maskz_max_ps(0xffff, (__m512)least, (__m512)t);
#elif defined(__AVX2__)
  return (Floats)_mm256_max_ps((__m256)least, (__m256)t);
#else
  const Ints below = t < least;
  return (Floats)(((Ints)t & ~below) | ((Ints)least & below));
#endif
}

// How many lanes of a row are counted: in one number where the processor counts the bits of a comparison, else lane by lane.
#if defined(__AVX2__)
typedef int32_t RowCount;
INFONCE_INLINE RowCount count_greater(Floats x, Floats y) {
#if defined(__AVX512F__)
  return __builtin_popcount(_mm512_cmp_ps_mask((__m512)x, (__m512)y, _CMP_GT_OQ));
#else
  return __builtin_popcount(_mm256_movemask_ps(_mm256_cmp_ps((__m256)x, (__m256)y, _CMP_GT_OQ)));
#endif
}
INFONCE_INLINE Floats row_counts_of(const RowCount *rows) { return __builtin_convertvector(load_ints(rows), Floats); }
#else
typedef Ints RowCount;
INFONCE_INLINE RowCount count_greater(Floats x, Floats y) { return Ints{} - (x > y); }
INFONCE_INLINE Floats row_counts_of(const RowCount *rows) {
  return row_sums_of(reinterpret_cast<const int32_t *>(rows));
}
#endif

// x where t has a minus sign, else y.
INFONCE_INLINE Floats where_negative(Floats t, Floats x, Floats y) {
#if defined(__AVX512F__)
  const __mmask16 negative = _mm512_cmp_epi32_mask((__m512i)t, _mm512_setzero_si512(), _MM_CMPINT_LT);
  return (Floats)_mm512_mask_blend_ps(negative, (__m512)y, (__m512)x);
#elif defined(__AVX2__)
  return (Floats)_mm256_blendv_ps((__m256)y, (__m256)x, (__m256)t);
#else
  const Ints negative = (Ints)t >> 31;
  return (Floats)(((Ints)x & negative) | ((Ints)y & ~negative));
#endif
}

// x / y within 2 ulp, for normal y. With two Newton steps the estimates of AVX2 would take longer than its division.
INFONCE_INLINE Floats quotient(Floats x, Floats y) {
#if defined(__AVX512F__)
  const Floats inverse = (Floats)_mm512_maskz_rcp14_ps(0xffff, (__m512)y);
  return x * (inverse + inverse * (1.0f - y * inverse));
#else
  return x / y;
#endif
}

// 2^t, about 1 ulp, for t <= 126; flushes towards 2^-126 (or 0) below. Each step is done for all vectors: a chain of steps
// that depend on each other fills the processor's queue, and nothing behind it is begun.
template <int V> INFONCE_INLINE void exp2_floats(Floats (&t)[V]) {
  const auto each = [](auto step) { INFONCE_UNROLL for (int v = 0; v < V; ++v) step(v); };
  Floats whole[V], p[V];
#if defined(__AVX512F__)
  each([&](int v) { whole[v] = (Floats)_mm512_maskz_roundscale_ps(0xffff, (__m512)t[v], 0); });
#else
  const Floats magic = broadcast(12582912.0f);  // 1.5 * 2^23: rounds to an integer, kept in the low bits
  Floats shifted[V];
  each([&](int v) { t[v] = at_least(t[v], broadcast(-126.0f)); });
  each([&](int v) { shifted[v] = t[v] + magic; });
  each([&](int v) { whole[v] = shifted[v] - magic; });
#endif
  each([&](int v) { t[v] -= whole[v]; });
  each([&](int v) { p[v] = broadcast(0x1.41d334p-13f) * t[v] + broadcast(0x1.5f456ap-10f); });
  each([&](int v) { p[v] = p[v] * t[v] + broadcast(0x1.3b2dbcp-7f); });
  each([&](int v) { p[v] = p[v] * t[v] + broadcast(0x1.c6aed4p-5f); });
  each([&](int v) { p[v] = p[v] * t[v] + broadcast(0x1.ebfbdap-3f); });
  each([&](int v) { p[v] = p[v] * t[v] + broadcast(0x1.62e430p-1f); });
  each([&](int v) { p[v] = p[v] * t[v] + broadcast(1.0f); });
#if defined(__AVX512F__)
  each([&](int v) { t[v] = (Floats)_mm512_maskz_scalef_ps(0xffff, (__m512)p[v], (__m512)whole[v]); });
#else
  each([&](int v) { t[v] = (Floats)((Ints)p[v] + ((Ints)shifted[v] << 23)); });
#endif
}

// e^x in float64, below 1e-14 relative error; 0 where e^x leaves its range. Pairs that are masked afterwards may have
// any logit.
INFONCE_INLINE Doubles exp_doubles(Doubles x) {
  const Longs outside = (x < broadcast(-708.0)) | (x > broadcast(708.0));
  x = (Doubles)(((Longs)x & ~outside));
  const Doubles magic = broadcast(6755399441055744.0);  // 1.5 * 2^52
  const Doubles shifted = x * broadcast(1.4426950408889634) + magic;
  const Doubles whole = shifted - magic;
  const Doubles f = (x - whole * broadcast(0x1.62e42fefa3800p-1)) - whole * broadcast(0x1.ef35793c76730p-45);
  Doubles p = broadcast(1.0 / 6227020800.0);
  p = p * f + broadcast(1.0 / 479001600.0);
  p = p * f + broadcast(1.0 / 39916800.0);
  p = p * f + broadcast(1.0 / 3628800.0);
  p = p * f + broadcast(1.0 / 362880.0);
  p = p * f + broadcast(1.0 / 40320.0);
  p = p * f + broadcast(1.0 / 5040.0);
  p = p * f + broadcast(1.0 / 720.0);
  p = p * f + broadcast(1.0 / 120.0);
  p = p * f + broadcast(1.0 / 24.0);
  p = p * f + broadcast(1.0 / 6.0);
  p = p * f + broadcast(0.5);
  p = p * f + broadcast(1.0);
  p = p * f + broadcast(1.0);
  const Doubles value = (Doubles)((Longs)p + ((Longs)shifted << 52));
  return (Doubles)((Longs)value & ~outside);
}

}  // namespace infonce::cpu::INFONCE_KERNEL_NAMESPACE

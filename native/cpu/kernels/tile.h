// The register-blocked product that all others use: a tile of R rows by one panel, held in registers over the depth.
#pragma once

#include "cpu/kernels/simd.h"

namespace infonce::cpu::INFONCE_KERNEL_NAMESPACE {

template <class Scalar, int R> struct Tile {
  Vector<Scalar> at[R][2];

  INFONCE_INLINE void clear() { INFONCE_UNROLL for (int r = 0; r < R; ++r) at[r][0] = at[r][1] = Vector<Scalar>{}; }

  INFONCE_INLINE void store_to(Scalar *rows, int64_t stride = 2 * kLanesOf<Scalar>) const {
    INFONCE_UNROLL for (int r = 0; r < R; ++r) {
      store(rows + r * stride, at[r][0]);
      store(rows + r * stride + kLanesOf<Scalar>, at[r][1]);
    }
  }

  // Sums of whole panels are added up, not continued: in float32 that keeps more digits over many rows.
  INFONCE_INLINE void add_to(Scalar *rows) {
    constexpr int L = kLanesOf<Scalar>;
    INFONCE_UNROLL for (int r = 0; r < R; ++r) {
      at[r][0] += load(rows + r * 2 * L);
      at[r][1] += load(rows + r * 2 * L + L);
    }
    store_to(rows);
  }

  // += a * b over `depth` steps. Row r of step k is a[r + k * step] when kRowStride is 0 (rows side by side), else
  // a[r * kRowStride + k]: a constant, because a run-time stride would need an address register for each row.
  template <int kRowStride>
  INFONCE_INLINE void multiply(const Scalar *a, int64_t step, const Scalar *b, int64_t depth) {
    constexpr int L = kLanesOf<Scalar>;
    INFONCE_UNROLL_4 for (int64_t k = 0; k < depth; ++k) {
      const Vector<Scalar> b0 = load(b), b1 = load(b + L);
      INFONCE_UNROLL for (int r = 0; r < R; ++r) {
        const Vector<Scalar> x = broadcast(a[kRowStride ? r * kRowStride : r]);
        at[r][0] += x * b0;
        at[r][1] += x * b1;
      }
      a += kRowStride ? 1 : step;
      b += 2 * L;
    }
  }
};

template <int R> struct TileHeight { static constexpr int value = R; };

template <int kTallest = kTileRows> INFONCE_INLINE int tile_count(int count) {
  return (count + kTallest - 1) / kTallest;
}

// Calls visit(first row, TileHeight) over `count` rows in tiles of nearly equal height, at most kTallest and at least
// kTallest - 2 (which holds for every multiple of a panel): short tiles would waste registers.
template <int kTallest = kTileRows, class Visit> INFONCE_INLINE void for_each_tile(int count, const Visit &visit) {
  const int tiles = tile_count<kTallest>(count);
  const int tall = (count + tiles - 1) / tiles;
  const int tall_tiles = count - tiles * (tall - 1);
  int row = 0;
  for (int t = 0; t < tiles; ++t) {
    const int height = t < tall_tiles ? tall : tall - 1;
    if (height == kTallest) visit(row, TileHeight<kTallest>{});
    else if (height == kTallest - 1) visit(row, TileHeight<kTallest - 1>{});
    else if (height == kTallest - 2) visit(row, TileHeight<kTallest - 2>{});
    else __builtin_trap();
    row += height;
  }
}

}  // namespace infonce::cpu::INFONCE_KERNEL_NAMESPACE

// Float64 products on the plain cores, 32 rows by 128 columns a block, 8 by 4 a thread. A warp owns whole rows of the
// tile, so that its lanes put together what belongs to a row. Each sum runs over the depth in ascending order: its bits
// depend on nothing but its two operands.
#pragma once

#include <cstdint>

#include "cuda/kernels/exact_row.cuh"
#include "cuda/kernels/rows.h"
#include "cuda/kernels/warp.cuh"

namespace infonce::cuda {

struct alignas(16) DoubleTile {
  static constexpr int kRows = 32, kColumns = 128, kDepth = 16;
  static constexpr int kThreads = 128, kThreadRows = 8, kThreadColumns = 4;
  static constexpr int kLoadedRowDepth = kDepth * kRows / kThreads;  // of the one row that a thread loads
  static_assert(kThreads / kWarp * kThreadRows == kRows, "warps stand one below the other");
  static_assert(kWarp * kThreadColumns == kColumns, "a warp has whole rows");
  static_assert(kThreads == kColumns && kRows == kWarp, "a thread loads one column, a lane one row");

  double rows[2][kDepth][kRows], columns[2][kDepth][kColumns];
};

// What a thread computes: rows 8 * warp ... of the tile by columns lane + 32 c.
struct DoubleSums {
  double at[DoubleTile::kThreadRows][DoubleTile::kThreadColumns];

  __device__ void clear() {
    for_each([](double &sum, int, int) { sum = 0; });
  }
  // visit(sum, row, column), of the thread's own
  template <class Visit> __device__ __forceinline__ void for_each(Visit &&visit) {
#pragma unroll
    for (int r = 0; r < DoubleTile::kThreadRows; ++r)
#pragma unroll
      for (int c = 0; c < DoubleTile::kThreadColumns; ++c) visit(at[r][c], r, c);
  }
  static __device__ int first_row() { return threadIdx.x / kWarp * DoubleTile::kThreadRows; }
  static __device__ int column(int c) { return threadIdx.x % kWarp + c * kWarp; }
};

// sums += product over `depth`. The loader fetches a step of the operands, then stores it as a stage of the tile, with
// zeros beyond the depth.
template <class Loader>
__device__ __forceinline__ void multiply(DoubleSums &sums, DoubleTile &tile, Loader &loader, int64_t depth) {
  __syncthreads();  // the last product is done with the tile
  loader.fetch(0);
  int stage = 0;
  for (int64_t k = 0; k < depth; k += DoubleTile::kDepth, stage ^= 1) {
    loader.store(tile, stage);
    __syncthreads();
    if (k + DoubleTile::kDepth < depth) loader.fetch(k + DoubleTile::kDepth);
#pragma unroll
    for (int d = 0; d < DoubleTile::kDepth; ++d) {
      double row[DoubleTile::kThreadRows], column[DoubleTile::kThreadColumns];
#pragma unroll
      for (int r = 0; r < DoubleTile::kThreadRows; ++r) row[r] = tile.rows[stage][d][DoubleSums::first_row() + r];
#pragma unroll
      for (int c = 0; c < DoubleTile::kThreadColumns; ++c) column[c] = tile.columns[stage][d][DoubleSums::column(c)];
      sums.for_each([&](double &sum, int r, int c) { sum = fma(row[r], column[c], sum); });
    }
  }
}

// Beyond the last row: the last one again, so that nothing is read out of bounds. The caller drops those products.
__device__ inline ExactRow row_or_last(const Tower &tower, int64_t r) {
  return ExactRow(tower, min(r, tower.rows - 1));
}

// Unit rows against unit rows: each thread brings a column of the tile, and with three others a row.
class UnitRowLoader {
 public:
  __device__ UnitRowLoader(const ExactRow &row, const ExactRow &column, int64_t dim)
      : row_(row), column_(column), dim_(dim) {}

  __device__ __forceinline__ void fetch(int64_t k) {
    fetch_from(row_.data, k + first_row_depth(), fetched_row_);
    fetch_from(column_.data, k, fetched_column_);
  }
  __device__ __forceinline__ void store(DoubleTile &tile, int stage) {
#pragma unroll
    for (int d = 0; d < DoubleTile::kLoadedRowDepth; ++d)
      tile.rows[stage][first_row_depth() + d][threadIdx.x % kWarp] = fetched_row_[d] * row_.inverse;
#pragma unroll
    for (int d = 0; d < DoubleTile::kDepth; ++d) {
      const double value = fetched_column_[d] * column_.inverse;
      tile.columns[stage][d][threadIdx.x] = value;
      column_square_ = fma(value, value, column_square_);
    }
  }
  // After the product: squared length of the column that this thread brought.
  __device__ double column_square() const { return column_square_; }

 private:
  static __device__ int first_row_depth() { return threadIdx.x / kWarp * DoubleTile::kLoadedRowDepth; }

  template <int kCount>
  __device__ __forceinline__ void fetch_from(const float *data, int64_t first, float (&to)[kCount]) {
    static_assert(kCount % 4 == 0, "whole vectors");
    if (first + kCount <= dim_ && reinterpret_cast<uintptr_t>(data) % sizeof(float4) == 0) {
#pragma unroll
      for (int v = 0; v < kCount; v += 4) {
        const float4 four = __ldg(reinterpret_cast<const float4 *>(data + first + v));
        to[v] = four.x, to[v + 1] = four.y, to[v + 2] = four.z, to[v + 3] = four.w;
      }
    } else {
#pragma unroll
      for (int d = 0; d < kCount; ++d) to[d] = first + d < dim_ ? __ldg(data + first + d) : 0;
    }
  }

  ExactRow row_, column_;
  int64_t dim_;
  float fetched_row_[DoubleTile::kLoadedRowDepth], fetched_column_[DoubleTile::kDepth];
  double column_square_ = 0;
};

}  // namespace infonce::cuda

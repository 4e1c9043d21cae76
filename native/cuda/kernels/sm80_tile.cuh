// Tiles of bfloat16 in shared memory and the products of them that a warp computes. A tile holds rows of kChunks
// 16-byte chunks; chunk c of row r stands where c is exclusive-ored with the row, so that eight rows of one column of
// chunks, which is what a matrix load reads, and the chunks of one row, which is what a copy writes, lie in different
// banks.
#pragma once

#include <cuda_bf16.h>

#include "cuda/kernels/sm80_mma.cuh"

namespace infonce::cuda {

template <int kChunks> INFONCE_DEVICE constexpr int swizzle_of_row(int row) {
  static_assert(kChunks == 4 || kChunks % 8 == 0, "a tile's rows are 64 bytes or a multiple of 128");
  return kChunks == 4 ? (row >> 1) & 3 : row & 7;
}

template <int kChunks> INFONCE_DEVICE constexpr uint32_t tile_offset(int row, int chunk) {
  return static_cast<uint32_t>((row * kChunks + (chunk ^ swizzle_of_row<kChunks>(row))) * 16);
}

// Copies kRows rows of kChunks chunks, whose rows lie `stride` elements apart, with all kThreads threads of the block.
template <int kRows, int kChunks, int kThreads>
INFONCE_DEVICE void copy_tile(uint32_t to, const __nv_bfloat16 *from, int64_t stride) {
  static_assert(kRows * kChunks % kThreads == 0, "every thread copies as much");
  const int thread = thread_index();
#pragma unroll
  for (int i = 0; i < kRows * kChunks / kThreads; ++i) {
    const int at = i * kThreads + thread, row = at / kChunks, chunk = at % kChunks;
    copy_async16(to + tile_offset<kChunks>(row, chunk), from + row * stride + chunk * 8);
  }
}

// The same of a tile that ends after `chunks` chunks, with zeros beyond; row r goes to row place(r).
template <int kRows, int kChunks, int kThreads, class Place>
INFONCE_DEVICE void copy_tile(uint32_t to, const __nv_bfloat16 *from, int64_t stride, int chunks, Place &&place) {
  static_assert(kRows * kChunks % kThreads == 0, "every thread copies as much");
  const int thread = thread_index();
#pragma unroll
  for (int i = 0; i < kRows * kChunks / kThreads; ++i) {
    const int at = i * kThreads + thread, row = at / kChunks, chunk = at % kChunks;
    const bool real = chunk < chunks;
    copy_async16_or_zeros(to + tile_offset<kChunks>(place(row), chunk), from + (real ? row * stride + chunk * 8 : 0),
                          real);
  }
}

// What one warp accumulates: 16 kRowFragments rows by 8 kColumnFragments columns.
template <int kRowFragmentsOfWarp, int kColumnFragmentsOfWarp> struct Accumulators {
  static constexpr int kRowFragments = kRowFragmentsOfWarp, kColumnFragments = kColumnFragmentsOfWarp;
  static constexpr int kRows = 16 * kRowFragments, kColumns = 8 * kColumnFragments;
  static constexpr int kThreads = 32;
  float at[kRowFragments][kColumnFragments][4];

  INFONCE_DEVICE void clear() {
    for_each([](float &value, int, int, int) { value = 0; });
  }
  INFONCE_DEVICE void add(const Accumulators &other) {
    for_each([&](float &value, int m, int n, int q) { value += other.at[m][n][q]; });
  }
  // visit(value, m, n, q)
  template <class Visit> INFONCE_DEVICE void for_each(Visit &&visit) {
#pragma unroll
    for (int m = 0; m < kRowFragments; ++m)
#pragma unroll
      for (int n = 0; n < kColumnFragments; ++n)
#pragma unroll
        for (int q = 0; q < 4; ++q) visit(at[m][n][q], m, n, q);
  }
  // Of the warp's part of a tile: the row of element q in row fragment m, the column of element q in column fragment n.
  static INFONCE_DEVICE int row(int lane, int m, int q) { return m * 16 + (q >> 1) * 8 + (lane >> 2); }
  static INFONCE_DEVICE int column(int lane, int n, int q) { return n * 8 + (lane & 3) * 2 + (q & 1); }
};

// Where a lane finds its rows of the left operand: rows 0 ... 15 of a fragment at two chunks. Offsets of whole
// fragments do not change the swizzle, and an even chunk passes through it: (k + h) ^ s = k ^ (h ^ s).
struct LeftRows {
  uint32_t row;
  int chunk;
};

template <int kDepth> INFONCE_DEVICE LeftRows left_rows(int lane, uint32_t a, int first_row) {
  return {a + (first_row + (lane & 15)) * kDepth * 2, (lane >> 4) ^ swizzle_of_row<kDepth / 8>(lane & 7)};
}

// Left operands of one step of 16 along the depth, chunks k and k + 1 of a tile [kPlanes][kRowsOfA][kDepth].
template <int kPlanes, int kDepth, int kRowsOfA, int M>
INFONCE_DEVICE void load_left(uint32_t (&matrices)[kPlanes][M][4], const LeftRows &from, int k) {
#pragma unroll
  for (int p = 0; p < kPlanes; ++p)
#pragma unroll
    for (int m = 0; m < M; ++m)
      load_matrices(matrices[p][m], from.row + ((from.chunk ^ k) << 4) + (p * kRowsOfA + m * 16) * kDepth * 2);
}

// sums += products with plane pb of two column fragments from n on, the smallest first.
template <int kPlanes, int M, int N>
INFONCE_DEVICE void multiply_fragments(Accumulators<M, N> &sums, const uint32_t (&a)[kPlanes][M][4],
                                       const uint32_t (&b)[4], int n, int pb) {
#pragma unroll
  for (int pa = kPlanes - 1 - pb; pa >= 0; --pa)
#pragma unroll
    for (int m = 0; m < M; ++m) {
      multiply_add(sums.at[m][n], a[pa][m], b[0], b[1]);
      multiply_add(sums.at[m][n + 1], a[pa][m], b[2], b[3]);
    }
}

// sums += A B^T over the depth of two tiles: rows first_row ... of tile a, [kPlanes][kRowsOfA][kDepth], and rows
// first_column ... of tile b. Planes pa of a and pb of b are multiplied if pa + pb < kPlanes, the smallest products
// first.
template <int kPlanes, int kDepth, int kRowsOfA, int kRowsOfB, int M, int N>
INFONCE_DEVICE void multiply_rows(Accumulators<M, N> &sums, uint32_t a, uint32_t b, int first_row, int first_column) {
  constexpr int kChunks = kDepth / 8, kPlaneOfB = kRowsOfB * kDepth * 2;
  static_assert(N % 2 == 0, "matrix loads bring two column fragments");
  const int lane = thread_index() & 31, b_chunk = ((lane >> 3) & 1) ^ swizzle_of_row<kChunks>(lane & 7);
  const LeftRows left = left_rows<kDepth>(lane, a, first_row);
  // Eight rows at two chunks, then the next eight.
  const uint32_t b_row = b + (first_column + (lane & 7) + (lane >> 4) * 8) * kDepth * 2;
#pragma unroll
  for (int k = 0; k < kChunks; k += 2) {
    uint32_t a_matrices[kPlanes][M][4];
    load_left<kPlanes, kDepth, kRowsOfA>(a_matrices, left, k);
#pragma unroll
    for (int n = 0; n < N; n += 2) {
#pragma unroll
      for (int pb = kPlanes - 1; pb >= 0; --pb) {
        uint32_t b_matrices[4];
        load_matrices(b_matrices, b_row + ((b_chunk ^ k) << 4) + pb * kPlaneOfB + n * 8 * kDepth * 2);
        multiply_fragments<kPlanes>(sums, a_matrices, b_matrices, n, pb);
      }
    }
  }
}

// sums += A B for one step of 16 along the depth: a already in registers, b from 16 rows of a tile of kChunks chunks a
// row, of which the warp reads columns first_column ...; `b` is the address of the first of the 16 rows, a multiple
// of 8.
template <int kPlanes, int kChunks, int kRowsOfB, int M, int N>
INFONCE_DEVICE void multiply_columns(Accumulators<M, N> &sums, const uint32_t (&a_matrices)[kPlanes][M][4], uint32_t b,
                                     int first_column) {
  constexpr int kPlaneOfB = kRowsOfB * kChunks * 16;
  const int lane = thread_index() & 31;
  const uint32_t b_row = b + (lane & 15) * kChunks * 16;
  const int first_chunk = first_column / 8, b_chunk = (lane >> 4) ^ swizzle_of_row<kChunks>(lane & 7);
#pragma unroll
  for (int n = 0; n < N; n += 2) {
    const int chunk = first_chunk + n;  // even
#pragma unroll
    for (int pb = kPlanes - 1; pb >= 0; --pb) {
      uint32_t b_matrices[4];
      load_matrices_transposed(b_matrices, b_row + ((b_chunk ^ (chunk & 7)) << 4) + (chunk & ~7) * 16 + pb * kPlaneOfB);
      multiply_fragments<kPlanes>(sums, a_matrices, b_matrices, n, pb);
    }
  }
}

}  // namespace infonce::cuda

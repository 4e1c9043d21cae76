// Parameters of kernels and their launchers: rows of matrices, directions of the softmax, the report of a call. Plain structs
// of device pointers, passed to kernels by value.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "infonce/infonce.h"

namespace infonce::cuda {

constexpr int kRowMultiple = 256;  // rows of a tower are padded with rows of zeros to the largest tile
constexpr int kDimMultiple = 64;   // and the dimension with zeros to 128 bytes of bfloat16
constexpr int kMostPlanes = 3;

// bfloat16 planes of an operand, and with them the products of two: 1, 3 or 6.
enum class Planes { kMedium = 1, kHigh = 2, kHighest = 3 };

// One input as the kernels read it. Its rows are prepared in class order: rows of one sample or one label stand side by
// side, so that the pairs treated one by one form a band around the diagonal. Prepared row r is row source_row(r) of
// the input; all else counts prepared rows.
struct Tower {
  const float *source;    // [rows, dim], the caller's, or a copy
  int64_t source_stride;  // numbers from one row of it to the next
  const int32_t *order;   // [rows], or null: samples of `views` rows, which the input holds view by view
  int64_t views;
  __nv_bfloat16 *planes;  // [planes][padded_rows][padded_dim]: unit rows, the first plane plus the second plus ...
  double *inverse_norm;   // [padded_rows]: unit row = source row * inverse norm; 0 for a row of zeros
  int64_t rows, padded_rows;
  int64_t dim, padded_dim;
  bool normalize;

  __host__ __device__ int64_t source_row(int64_t r) const {
    if (order) return order[r];
    return views > 1 ? (r % views) * (rows / views) + r / views : r;
  }
  __host__ __device__ int64_t plane_size() const { return padded_rows * padded_dim; }
};

// Candidates [first, end) of the other tower.
struct Range {
  int32_t first, end;

  __host__ __device__ bool holds(int64_t j) const { return j >= first && j < end; }
  __host__ __device__ int64_t size() const { return end - first; }
};

constexpr int kMostDimOfIds = 192;  // of gradients in registers: beyond there are none to compare ids with

// By anchor, in prepared rows; both kinds never decrease along the rows. Null: empty for every anchor.
struct Pairs {
  const Range *apart =
      nullptr;  // [padded_rows]: not in the matrix; the anchor itself, and pairs that are treated one by one
  const Range *classes =
      nullptr;  // [padded_rows]: members of the anchor's large class, whose targets are taken off the matrix
  // By row of either side, both or none: pairs of equal id are not in the matrix. Float32 only; float64 has them as Masks.
  const int32_t *row_ids = nullptr, *column_ids = nullptr;
};

// Pairs that a block leaves out, and biases that it adds, by prepared row; null: none.
struct Masks {
  const int32_t *row_ids, *column_ids;  // both or none: pairs of equal id are no candidates, but for the positives
  const float *row_bias, *column_bias;  // of the candidates, of which either may be
  // Row j belongs to anchor j mod the period; its pairs are computed separately. 0: no such rows.
  int64_t row_period, column_period;
  // By row of either side, at most one of them: dot products above are left out, of the rows or, `by_guide`, of guides.
  const double *row_most, *column_most;
  bool by_guide;
  // By anchor, which may be either side: the number of the candidate that is left out, where they count up from this one.
  const int32_t *row_target, *column_target;
  int64_t first_number;

#ifdef __CUDACC__
  __device__ bool is_target(int64_t i, int64_t j) const {
    return (row_target && row_target[i] == first_number + j) || (column_target && column_target[j] == first_number + i);
  }
  __device__ bool is_above(double dot, int64_t i, int64_t j) const {
    return (row_most && dot > row_most[i]) || (column_most && dot > column_most[j]);
  }
#endif
};

// One direction of the softmax: rows that have a denominator and a loss. Arrays of [padded_rows].
struct Direction {
  float *rank;  // dot products above this are above the first positive's; +inf without one
  double *sum;  // matrix part of the denominator: sum * e^offset
  double *offset;
  int32_t *above;       // candidates of the matrix above the positive
  int32_t *all_above;   // all candidates above it
  double *upstream;     // d (total loss) / d (loss of the row), relative to Upstream::largest; 0 without loss
  double *log_sum_exp;  // +inf without loss: every probability is 0
  float *weight;        // of the matrix: weight * exp2(logit - log2_sum), with the upstream gradient
  float *log2_sum;      // 0 with a constant shift; else log_sum_exp in powers of two; +inf without loss
  float *target;        // upstream / positives for rows of a large class; else 0
  double *rest_share;   // 1 - p of the only positive
  double *loss;
};

// d (total loss) / d (loss of a row) as the caller gave it.
struct Upstream {
  const float *values;  // [count], count 0: 1 for every row; 1: for all; else one each, in the input's order
  int64_t count;
  double factor;         // of the reduction
  const float *largest;  // |values|'s largest, on the device; null without values

  // Relative to the largest.
  __host__ __device__ double relative(int64_t source_row) const {
    if (count == 0) return 1;
    const double value = values[count == 1 ? 0 : source_row];
    return *largest > 0 ? value / *largest : 0;
  }
  __device__ double scale() const { return count == 0 ? factor : factor * *largest; }
};

// Inputs that may hold a bad row: each matrix, by its index, each one's guide, and the upstream gradient.
constexpr int kGuideInputs = INFONCE_MOST_MATRICES;
constexpr int kUpstreamInput = kGuideInputs + INFONCE_MOST_MATRICES, kInputs = kUpstreamInput + 1;

// Messages of the kernels to the host and to each other. Initially zeros.
struct Report {
  unsigned long long bad_row[kInputs];  // the complement of the first, so that 0 is none and the largest is kept
  float largest_upstream;
  int32_t cancelled;                          // set by the host: blocks that have not begun their work return
  uint32_t blocks_done;                       // of the launch whose last block puts the totals together; 0 after it
  float largest_norm[INFONCE_MOST_MATRICES];  // of unit rows, without normalisation
  int32_t use_float64;                        // 1: float32 cannot hold the result to its digits, float64 must serve
  infonce_scalars scalars;

#ifdef __CUDACC__
  __device__ void add_bad_row(int32_t input, int64_t row) {
    atomicMax(&bad_row[input], ~static_cast<unsigned long long>(row));
  }
  // Of whole warps.
  __device__ bool has_bad_row() const {
    static_assert(kInputs <= 32, "a lane an input");
    const unsigned lane = threadIdx.x % 32;
    return __any_sync(0xffffffffu, lane < kInputs && bad_row[lane] != 0);
  }
#endif
  __host__ __device__ int64_t first_bad_row(int32_t input) const {
    return bad_row[input] == 0 ? -1 : static_cast<int64_t>(~bad_row[input]);
  }
};

}  // namespace infonce::cuda

// Own negatives [N, M, D]: a block for each query. First the dot products with its negatives, then the softmax of the
// row, then in a second sweep, out of the cache where they fit, all gradients. Float64 sums of float32 rows.
#pragma once

#include <cmath>

#include "common/row_loss.h"
#include "cuda/kernels/exact_row.cuh"
#include "cuda/kernels/tasks.h"
#include "cuda/kernels/trace.cuh"
#include "cuda/kernels/warp.cuh"

namespace infonce::cuda {

constexpr int kPairedWarps = 8;
constexpr int kPairedBatch = 4;  // negatives that a warp has in flight

// kWidth floats a lane: 4 where rows are aligned to 16 bytes, else 1.
template <int kWidth> struct Lanes {
  static constexpr int kDims = kWarp * kWidth;
  float at[kWidth];

  // Of row[first ... first + kDims), zeros beyond `dim`.
  static __device__ __forceinline__ Lanes load(const float *row, int64_t first, int64_t dim) {
    const int64_t d = first + threadIdx.x % kWarp * kWidth;
    Lanes lanes = {};
    if (d >= dim) return lanes;
    if constexpr (kWidth == 4) {
      const float4 four = __ldg(reinterpret_cast<const float4 *>(row + d));
      lanes = {four.x, four.y, four.z, four.w};
    } else {
      lanes.at[0] = __ldg(row + d);
    }
    return lanes;
  }
  __device__ __forceinline__ void store(float *row, int64_t first, int64_t dim) const {
    const int64_t d = first + threadIdx.x % kWarp * kWidth;
    if (d >= dim) return;
    if constexpr (kWidth == 4) *reinterpret_cast<float4 *>(row + d) = make_float4(at[0], at[1], at[2], at[3]);
    else row[d] = at[0];
  }
};

// A row that a query stands against, as the whole warp knows it. A row of zeros has inverse norm 0, and so no gradient.
struct PairedRow {
  double dot, square;  // with the query; with itself

  __device__ bool is_finite() const { return square < INFINITY; }  // squares of floats do not overflow
  __device__ double inverse_norm(bool normalize) const {
    if (!normalize) return 1;
    return square > 0 ? 1 / max(sqrt(square), kSmallestNorm) : 0;
  }
  // Whether a longer row would be the same unit row.
  static __device__ bool is_scaled(double inverse_norm, bool normalize) {
    return normalize && inverse_norm < 1 / kSmallestNorm;
  }
};

// The same sums in the same order for every row: duplicates have the same bits.
template <int kWidth, int kCount>
__device__ __forceinline__ void measure(PairedRow (&result)[kCount], const float *query,
                                        const float *const (&rows)[kCount], int64_t dim) {
#pragma unroll
  for (int b = 0; b < kCount; ++b) result[b] = {0, 0};
  for (int64_t first = 0; first < dim; first += Lanes<kWidth>::kDims) {
    const auto u = Lanes<kWidth>::load(query, first, dim);
    Lanes<kWidth> v[kCount];
#pragma unroll
    for (int b = 0; b < kCount; ++b) v[b] = Lanes<kWidth>::load(rows[b], first, dim);
#pragma unroll
    for (int b = 0; b < kCount; ++b)
#pragma unroll
      for (int q = 0; q < kWidth; ++q) {
        const double value = v[b].at[q];
        result[b].dot = fma(double(u.at[q]), value, result[b].dot);
        result[b].square = fma(value, value, result[b].square);
      }
  }
#pragma unroll
  for (int b = 0; b < kCount; ++b) result[b] = {warp_sum(result[b].dot), warp_sum(result[b].square)};
}

// What a negative, or the key, gives and gets once its weight is known.
struct PairedShare {
  double add;    // query's gradient += add * row
  double along;  // row's gradient = add * factor * unit query - along * row

  static __device__ PairedShare of(double weight, double factor, double dot, double inverse_norm, bool normalize) {
    const double add = weight * inverse_norm;
    return {add, PairedRow::is_scaled(inverse_norm, normalize) ? add * factor * dot * inverse_norm : 0};
  }
  template <int kWidth>
  __device__ __forceinline__ Lanes<kWidth> gradient(const Lanes<kWidth> &row, const Lanes<kWidth> &query,
                                                    double query_factor) const {
    Lanes<kWidth> out;
#pragma unroll
    for (int q = 0; q < kWidth; ++q) out.at[q] = float(add * query_factor * query.at[q] - along * row.at[q]);
    return out;
  }
};

// Warps of the block one after another: the order is always the same.
template <class T> __device__ __forceinline__ T sum_of_warps(const T *of_warp, int warps) {
  T total = of_warp[0];
  for (int w = 1; w < warps; ++w) total += of_warp[w];
  return total;
}

template <int kWidth> struct PairedShared {
  double maximum[kPairedWarps], sum[kPairedWarps], moment[kPairedWarps];
  int32_t above[kPairedWarps];
  double gradient[kPairedWarps][Lanes<kWidth>::kDims];
};

// Grid: x queries. Threads: up to kPairedWarps warps. kBias: keys have one, or a margin. Then ptxas has to be told how many
// blocks to keep room for: by itself it takes 64 registers for compute capability 8.0 and one float a lane, and spills.
template <int kWidth, bool kBias>
__global__ void __launch_bounds__(kPairedWarps *kWarp, !kBias        ? 0
                                                       : kWidth == 4 ? 2
                                                                     : 3)
    paired_queries(Trace trace, const __grid_constant__ PairedTask task) {
  trace.mark();
  if (trace.is_cancelled()) return;
  __shared__ PairedShared<kWidth> shared;
  const PairedProblem &problem = task.problem;
  const int64_t dim = problem.dim, each = problem.negative_rows;
  const bool normalize = problem.normalize;
  const int warps = blockDim.x / kWarp, warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;

  const int64_t i = trace.block(), count = problem.count_of(i);
  const float *query = problem.anchors + i * problem.anchor_stride, *key = problem.keys + i * problem.key_stride;
  const int64_t stride = problem.negative_stride;
  const float *own = problem.negatives + i * each * stride;
  double2 *negatives = task.negatives + i * each;

  PairedRow pair[2];
  measure<kWidth>(pair, query, {query, key}, dim);
  if (threadIdx.x == 0) {
    if (!pair[0].is_finite()) task.report->add_bad_row(task.problem.anchors_matrix, i);
    if (!pair[1].is_finite()) task.report->add_bad_row(task.problem.keys_matrix, i);
  }
  const double query_inverse = pair[0].inverse_norm(normalize), key_inverse = pair[1].inverse_norm(normalize);
  const double positive = pair[1].dot * query_inverse * key_inverse;
  double positive_logit = problem.scale * positive;
  if (kBias && problem.key_bias) positive_logit += double(problem.key_bias[i]);
  if (kBias) positive_logit -= problem.scale * problem.margin;

  double maximum = -INFINITY;
  int32_t above = 0;
  for (int64_t first = warp * kPairedBatch; first < count; first += warps * kPairedBatch) {
    const float *rows[kPairedBatch];
#pragma unroll
    for (int b = 0; b < kPairedBatch; ++b) rows[b] = own + min(first + b, count - 1) * stride;
    PairedRow batch[kPairedBatch];
    measure<kWidth>(batch, query, rows, dim);
#pragma unroll
    for (int b = 0; b < kPairedBatch; ++b) {
      if (first + b >= count) break;
      const double inverse = batch[b].inverse_norm(normalize), dot = batch[b].dot * query_inverse * inverse;
      maximum = max(maximum, problem.negative_scale * dot);
      if (problem.ranks) above += kBias ? problem.scale * dot > positive_logit : dot > positive;
      if (lane > 0) continue;
      negatives[first + b] = make_double2(dot, inverse);
      if (!batch[b].is_finite()) task.report->add_bad_row(task.problem.negatives_matrix, i * each + first + b);
    }
  }
  if (lane == 0) shared.maximum[warp] = maximum, shared.above[warp] = above;
  __syncthreads();

  // The softmax of the row. `moment`: sum of exponential * dot product.
  for (int w = 0; w < warps; ++w) maximum = max(maximum, shared.maximum[w]);
  double sum = 0, moment = 0;
  for (int64_t m = threadIdx.x; m < count; m += blockDim.x) {
    const double dot = negatives[m].x, exponential = exp(problem.negative_scale * dot - maximum);
    sum += exponential;
    moment += exponential * dot;
  }
  sum = warp_sum(sum), moment = warp_sum(moment);
  if (lane == 0) shared.sum[warp] = sum, shared.moment[warp] = moment;
  __syncthreads();
  RowLoss<INFONCE_ROW_LOSS_CROSS_ENTROPY> row(sum_of_warps(shared.sum, warps), maximum, 1);
  row.add(kBias ? max(positive_logit, kLeftOut) : problem.scale * positive, true);
  row.close();
  const double g = task.upstream.relative(i), factor = problem.scale * task.upstream.scale();
  const double positive_weight = g * only_positive_weight(row.rest_share());
  // <u, d loss / d u> is the sum of the weights times the dot products.
  const double radial =
      factor * (g * row.matrix_weight() * sum_of_warps(shared.moment, warps) + positive_weight * positive);
  if (threadIdx.x == 0) {
    task.loss[i] = row.loss();
    task.above[i] = sum_of_warps(shared.above, warps);
    const double of_margin = kBias ? factor * positive_weight * problem.margin : 0;
    task.radial[i] = task.grad_anchors ? radial - of_margin : 0;
  }

  if (task.grad_anchors) {
    const double log_sum_exp = row.log_sum_exp(), query_factor = factor * query_inverse;
    for (int64_t m = threadIdx.x; m < count; m += blockDim.x) {
      const double2 negative = negatives[m];
      const double weight = g * negative_weight(problem.negative_scale * negative.x, log_sum_exp);
      const PairedShare share = PairedShare::of(weight, factor, negative.x, negative.y, normalize);
      negatives[m] = make_double2(share.add, share.along);
    }
    __syncthreads();
    const PairedShare of_key = PairedShare::of(positive_weight, factor, positive, key_inverse, normalize);
    const double query_along = PairedRow::is_scaled(query_inverse, normalize) ? radial * query_inverse : 0;

    for (int64_t dims = 0; dims < dim; dims += Lanes<kWidth>::kDims) {
      const auto u = Lanes<kWidth>::load(query, dims, dim);
      double gradient[kWidth] = {};
      for (int64_t first = warp * kPairedBatch; first < count; first += warps * kPairedBatch) {
        Lanes<kWidth> v[kPairedBatch];
        double2 share[kPairedBatch];
#pragma unroll
        for (int b = 0; b < kPairedBatch; ++b) {
          const int64_t m = min(first + b, count - 1);
          v[b] = Lanes<kWidth>::load(own + m * stride, dims, dim);
          share[b] = negatives[m];
        }
#pragma unroll
        for (int b = 0; b < kPairedBatch; ++b) {
          if (first + b >= count) break;
          const PairedShare of_row = {share[b].x, share[b].y};
#pragma unroll
          for (int q = 0; q < kWidth; ++q) gradient[q] = fma(of_row.add, double(v[b].at[q]), gradient[q]);
          if (!task.grad_negatives) continue;
          float *out = task.grad_negatives + (i * each + first + b) * dim;
          of_row.gradient(v[b], u, query_factor).store(out, dims, dim);
        }
      }
      for (int64_t m = count + warp; task.grad_negatives && m < each; m += warps)
        Lanes<kWidth>{}.store(task.grad_negatives + (i * each + m) * dim, dims, dim);
#pragma unroll
      for (int q = 0; q < kWidth; ++q) shared.gradient[warp][lane * kWidth + q] = gradient[q];
      __syncthreads();
      if (warp == 0) {
        const auto k = Lanes<kWidth>::load(key, dims, dim);
        of_key.gradient(k, u, query_factor).store(task.grad_keys + i * dim, dims, dim);
        Lanes<kWidth> out;
#pragma unroll
        for (int q = 0; q < kWidth; ++q) {
          double total = of_key.add * k.at[q];
          for (int w = 0; w < warps; ++w) total += shared.gradient[w][lane * kWidth + q];
          out.at[q] = float(query_inverse * (factor * total - query_along * u.at[q]));
        }
        out.store(task.grad_anchors + i * dim, dims, dim);
      }
      __syncthreads();
    }
  }
}

}  // namespace infonce::cuda

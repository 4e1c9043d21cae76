// Inputs to operands: unit rows in bfloat16 planes, padded with zeros, and on the way the finite check. Also the ranges
// of pairs, the size of the upstream gradient, and the sums of large classes.
#pragma once

#include <cmath>

#include "cuda/kernels/exact_row.cuh"
#include "cuda/kernels/trace.cuh"

namespace infonce::cuda {

// The order of floats that are not negative is that of their bits; a maximum does not depend on the order of its terms.
__device__ inline void raise(float *largest, float value) {
  atomicMax(reinterpret_cast<int *>(largest), __float_as_int(value));
}

// Splits unit(d), a float or a double: each plane is the rounding of what the planes before it left.
template <int kPlanes, class Unit> __device__ void write_planes(const Tower &tower, int64_t r, int lane, Unit &&unit) {
  for (int64_t d = 2 * lane; d < tower.padded_dim; d += 2 * kWarp) {
    auto x = unit(d), y = unit(d + 1);
#pragma unroll
    for (int p = 0; p < kPlanes; ++p) {
      const __nv_bfloat162 rounded = __floats2bfloat162_rn(float(x), float(y));
      *reinterpret_cast<__nv_bfloat162 *>(tower.planes + p * tower.plane_size() + r * tower.padded_dim + d) = rounded;
      x -= __low2float(rounded), y -= __high2float(rounded);
    }
  }
}

// An input of 16 bits an element in float32.
template <class Half> __global__ void widen(Trace trace, const Half *from, float *to, int64_t count) {
  trace.mark();
  const int64_t step = int64_t(gridDim.x) * blockDim.x;
  for (int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) to[i] = float(from[i]);
}

// Rows that stand apart, of any type, next to each other. A warp a row.
template <class Number>
__global__ void bring_together(Trace trace, const Number *from, int64_t stride, float *to, int64_t rows, int64_t dim) {
  trace.mark();
  const int64_t r = int64_t(blockIdx.x) * kRowsPerBlock + threadIdx.x / kWarp;
  if (r >= rows) return;
  for (int64_t d = threadIdx.x % kWarp; d < dim; d += kWarp) to[r * dim + d] = float(from[r * stride + d]);
}

// A warp a row; padding rows included.
template <int kPlanes> __global__ void prepare(Trace trace, const __grid_constant__ PrepareTasks tasks) {
  trace.mark();
  int which = 0;
  while (which + 1 < tasks.count && blockIdx.x >= tasks.first_block[which + 1]) ++which;
  const PrepareTask &task = tasks.of[which];
  const Tower &tower = task.tower;
  const int lane = threadIdx.x % kWarp;
  const int64_t r = int64_t(blockIdx.x - tasks.first_block[which]) * kRowsPerBlock + threadIdx.x / kWarp;
  if (r >= tower.padded_rows) return;
  const bool padding = r >= tower.rows;
  const int64_t source_row = padding ? 0 : tower.source_row(r);
  const float *row = tower.source + source_row * tower.source_stride;

  // Squares of float32 numbers cannot overflow float64, nor their roots lose digits.
  double squares = 0;
  for (int64_t d = lane; d < tower.dim && !padding; d += kWarp) squares += double(row[d]) * double(row[d]);
  const double norm = sqrt(warp_sum(squares));
  const double inverse = padding ? 0 : tower.normalize ? (norm > 0 ? 1 / fmax(norm, kSmallestNorm) : 0) : 1;
  if (lane == 0) {
    tower.inverse_norm[r] = inverse;
    if (task.ranges && !padding) {
      const int64_t first = r / tower.views * tower.views;
      task.ranges[r] = {static_cast<int32_t>(first), static_cast<int32_t>(first + tower.views)};
    }
    if (!(norm < 1e300)) task.report->add_bad_row(task.matrix, source_row);
    else if (!tower.normalize) raise(&task.report->largest_norm[task.matrix], float(norm));
  }

  if constexpr (kPlanes == 3) {
    // Three planes hold more digits than a float32 would bring.
    const auto unit = [&](int64_t d) -> double { return padding || d >= tower.dim ? 0 : row[d] * inverse; };
    write_planes<kPlanes>(tower, r, lane, unit);
  } else {
    // The factor as a sum of two floats keeps the length of the unit row right to more digits than its elements have.
    const bool in_float = inverse > 1e-25 && inverse < 1e25;
    const float high = in_float ? float(inverse) : 0, low = in_float ? float(inverse - double(high)) : 0;
    write_planes<kPlanes>(tower, r, lane, [&](int64_t d) -> float {
      if (padding || d >= tower.dim) return 0;
      return in_float ? fmaf(row[d], high, row[d] * low) : float(row[d] * inverse);
    });
  }
}

__global__ void measure_upstream(Trace trace, const float *values, int64_t count, int32_t input, Report *report) {
  trace.mark();
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  const float size = i < count ? fabsf(values[i]) : 0;
  if (!(size < INFINITY)) report->add_bad_row(input, i);
  const float largest = warp_max(size < INFINITY ? size : 0);
  if (threadIdx.x % kWarp == 0) raise(&report->largest_upstream, largest);
}

// Unit rows so long that float32's digits do not suffice for their logits, at level 'highest'. `others`: bits of the
// matrices with which anchors have logits. One thread.
__global__ void judge_logits(Trace trace, int32_t anchors, uint32_t others, double scale, double largest,
                             Report *report) {
  trace.mark();
  const float *norm = report->largest_norm;
  double longest = 0;
  for (int m = 0; m < INFONCE_MOST_MATRICES; ++m)
    if (others >> m & 1) longest = fmax(longest, double(norm[m]));
  if (!(scale * norm[anchors] * longest <= largest)) report->use_float64 = 1;
}

constexpr int kClassDims = 32,
              kClassRows = 32;  // of a block: a warp's lanes along the dimension, each warp every 32nd row

// Grid: x classes. The warps' sums are added in order.
__global__ void __launch_bounds__(kClassDims *kClassRows)
    sum_classes(Trace trace, const __grid_constant__ Tower tower, const __grid_constant__ Tower memory,
                const __grid_constant__ ClassSums classes) {
  trace.mark();
  __shared__ double sums[2][kClassRows][kClassDims];
  const Range members = classes.members[blockIdx.x];
  const Range in_memory = classes.in_memory ? classes.in_memory[blockIdx.x] : Range{0, 0};
  const int lane = threadIdx.x % kClassDims, group = threadIdx.x / kClassDims;
  for (int64_t first = int64_t(blockIdx.y) * kClassDims; first < tower.dim; first += int64_t(gridDim.y) * kClassDims) {
    const int64_t d = first + lane;
    double sum = 0, squares = 0;
    const auto add = [&](const Tower &of, const Range &range) {
#pragma unroll 4
      for (int64_t r = range.first + group; r < range.end; r += kClassRows) {
        const double u = d < tower.dim ? ExactRow(of, r)[d] : 0;
        sum += u, squares += u * u;
      }
    };
    add(tower, members);
    add(memory, in_memory);
    sums[0][group][lane] = sum, sums[1][group][lane] = squares;
    __syncthreads();
    if (group < 2 && d < tower.dim) {
      double total = 0;
      for (int g = 0; g < kClassRows; ++g) total += sums[group][g][lane];
      (group == 0 ? classes.sums : classes.squares)[blockIdx.x * tower.dim + d] = total;
    }
    __syncthreads();
  }
}

// As a class contracts to a point, p - 1 / positives cancels for each of its pairs, until float32 has no digits left. A
// warp a class.
__global__ void judge_classes(Trace trace, const __grid_constant__ ClassSums classes, int64_t dim, double scale,
                              double least_spread, Report *report) {
  trace.mark();
  const int64_t c = int64_t(blockIdx.x) * kRowsPerBlock + threadIdx.x / kWarp;
  if (c >= classes.count) return;
  double square_of_sum = 0, squares = 0;
  for (int64_t d = threadIdx.x % kWarp; d < dim; d += kWarp) {
    const double sum = classes.sums[c * dim + d];
    square_of_sum += sum * sum, squares += classes.squares[c * dim + d];
  }
  square_of_sum = warp_sum(square_of_sum), squares = warp_sum(squares);
  const double members = double(classes.members[c].size() + (classes.in_memory ? classes.in_memory[c].size() : 0));
  const double spread = 1 - square_of_sum / (members * squares);
  if (!(spread >= least_spread * (1 + members / (scale * squares)))) report->use_float64 = 1;
}

}  // namespace infonce::cuda

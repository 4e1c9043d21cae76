// The float64 scheme: logits with a running maximum, so that those up to about 1e12 are held. Slower than the tensor
// cores; used where bfloat16 planes or a constant shift of the exponent cannot hold the result to its digits.
#pragma once

#include <cmath>

#include "cuda/kernels/double_tile.cuh"
#include "cuda/kernels/trace.cuh"

namespace infonce::cuda {

struct Float64Statistics {
  const double *positive_logit;  // [padded_rows] of the owner; +inf without one
  double rank_factor;            // the logits' scale over that of the positives
  double *offset, *sum;
  int32_t *above;
  bool add;  // to what they hold
  bool ranks;
};

// What ranks a tile's rows: each one's positive, and how near a logit is a tie with it.
struct DoubleRanks {
  double positive[DoubleTile::kRows], tie[DoubleTile::kRows], column_length[DoubleTile::kColumns];

  // By a whole warp: row `row` of the owner as the tile's row r.
  __device__ void take_row(const Float64Task &task, const Float64Statistics &statistics, int64_t row, int r) {
    const ExactRow u = row_or_last(task.owner, row);
    const double square = sum_over_dim(task.owner.dim, [&](int64_t d) { return u[d] * u[d]; });
    if (threadIdx.x % kWarp) return;
    positive[r] = row < task.owner.rows ? statistics.positive_logit[row] * statistics.rank_factor : INFINITY;
    tie[r] = kTie * fabs(task.scale) * sqrt(square);
  }
  __device__ bool is_above(double logit, int row, int column) const {
    return logit > positive[row] + tie[row] * column_length[column];
  }
};

// What a direction of the softmax brings to the gradient; null: nothing.
struct Float64Probabilities {
  const double *upstream, *log_sum_exp;

  __device__ double weight(int64_t row, double logit) const {
    return upstream ? upstream[row] * exp(logit - log_sum_exp[row]) : 0;
  }
  __device__ double upstream_of(int64_t row) const { return upstream ? upstream[row] : 0; }
};

// Weights of a block of rows by a block of columns.
struct Float64Panel {
  double *weights;  // [rows][columns]
  int64_t first_row, rows, first_column;
  int64_t columns;  // a multiple of the tile's; weights beyond the other tower's rows are 0
};

// A thread a row, which adds up as the tile does: equal rows have equal dot products.
__global__ void thresholds(Trace trace, const __grid_constant__ ThresholdTask task) {
  trace.mark();
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= task.anchors.rows) return;
  const ExactRow u(task.anchors, i), v(task.positives, task.targets[i].first);
  double dot = 0;
  for (int64_t d = 0; d < task.anchors.dim; ++d) dot = fma(u[d], v[d], dot);
  task.most[i] = dot - (task.is_relative ? fabs(dot) * task.margin : task.margin);
}

// Which of a thread's pairs are above the threshold by the guides' dot products: a bit each, in the order of for_each.
__device__ __forceinline__ uint32_t above_by_guide(const Float64Task &task, DoubleTile &tile, int64_t row,
                                                   int64_t column) {
  static_assert(DoubleTile::kThreadRows * DoubleTile::kThreadColumns == 32, "a bit for each pair");
  UnitRowLoader loader(row_or_last(task.guide_owner, row + threadIdx.x % kWarp),
                       row_or_last(task.guide_other, column + threadIdx.x), task.guide_owner.dim);
  DoubleSums dots;
  dots.clear();
  multiply(dots, tile, loader, task.guide_owner.dim);
  uint32_t above = 0;
  dots.for_each([&](double &dot, int r, int c) {
    const int64_t i = row + DoubleSums::first_row() + r, j = column + DoubleSums::column(c);
    const bool is_real = i < task.owner.rows && j < task.other.rows;
    if (is_real && task.masks.is_above(dot, i, j)) above |= 1u << (r * DoubleTile::kThreadColumns + c);
  });
  return above;
}

// Grid: x tile rows of the owner.
template <bool kMasked, bool kByGuide = false>
__global__ void __launch_bounds__(DoubleTile::kThreads)
    float64_statistics(Trace trace, const __grid_constant__ Float64Task task,
                       const __grid_constant__ Float64Statistics statistics) {
  constexpr int kRows = DoubleTile::kThreadRows;
  trace.mark();
  if (trace.is_cancelled()) return;
  __shared__ DoubleTile tile;
  __shared__ DoubleRanks ranks;

  const int lane = threadIdx.x % kWarp, warp_row = DoubleSums::first_row();
  const int64_t tile_row = int64_t(trace.block()) * DoubleTile::kRows, first_row = tile_row + warp_row;
  double maximum[kRows], sum[kRows];  // of the lane's columns
  int32_t above[kRows];
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    maximum[r] = -INFINITY, sum[r] = 0, above[r] = 0;
    ranks.take_row(task, statistics, first_row + r, warp_row + r);
  }

  for (int64_t column = 0; column < task.other.rows; column += DoubleTile::kColumns) {
    uint32_t left_out = 0;
    if constexpr (kByGuide) left_out = above_by_guide(task, tile, tile_row, column);
    UnitRowLoader loader(row_or_last(task.owner, tile_row + lane), row_or_last(task.other, column + threadIdx.x),
                         task.owner.dim);
    DoubleSums logits;
    logits.clear();
    multiply(logits, tile, loader, task.owner.dim);
    ranks.column_length[threadIdx.x] = sqrt(loader.column_square());
    __syncthreads();
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const Range apart = task.range(task.pairs.apart, first_row + r);
      double best = -INFINITY;
#pragma unroll
      for (int c = 0; c < DoubleTile::kThreadColumns; ++c) {
        const int64_t j = column + DoubleSums::column(c);
        double &logit = logits.at[r][c];
        if constexpr (kMasked) {
          bool counts = first_row + r < task.owner.rows && j < task.other.rows && !apart.holds(j);
          if constexpr (kByGuide) counts &= !(left_out >> (r * DoubleTile::kThreadColumns + c) & 1);
          logit = counts ? task.template logit<kMasked>(logit, first_row + r, j) : -INFINITY;
        } else {
          logit = j < task.other.rows && !apart.holds(j) ? task.scale * logit : -INFINITY;
        }
        best = max(best, logit);
        if (statistics.ranks) above[r] += ranks.is_above(logit, warp_row + r, DoubleSums::column(c));
      }
      if (best > maximum[r]) {
        sum[r] *= exp(maximum[r] - best);
        maximum[r] = best;
      }
#pragma unroll
      for (int c = 0; c < DoubleTile::kThreadColumns; ++c)
        if (logits.at[r][c] != -INFINITY) sum[r] += exp(logits.at[r][c] - maximum[r]);
    }
  }

#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const int64_t i = first_row + r;
    const double offset = warp_max(maximum[r]);
    const double total = warp_sum(sum[r] == 0 ? 0 : sum[r] * exp(maximum[r] - offset));
    const int32_t count = warp_sum(above[r]);
    if (lane) continue;
    const bool real = i < task.owner.rows;
    if (statistics.add && real) {
      const double before = statistics.sum[i] > 0 ? statistics.offset[i] : -INFINITY, both = max(offset, before);
      const auto share = [&](double sum, double of) { return sum == 0 ? 0 : sum * exp(of - both); };
      statistics.sum[i] = share(total, offset) + share(statistics.sum[i], before);
      statistics.offset[i] = both;
      statistics.above[i] += count;
      continue;
    }
    statistics.offset[i] = real ? offset : -INFINITY;
    statistics.sum[i] = real ? total : 0;
    statistics.above[i] = real ? count : 0;
  }
}

// Grid: x tile rows, y tile columns of the panel.
template <bool kMasked, bool kByGuide = false>
__global__ void __launch_bounds__(DoubleTile::kThreads)
    float64_weights(Trace trace, const __grid_constant__ Float64Task task,
                    const __grid_constant__ Float64Probabilities of_owner,
                    const __grid_constant__ Float64Probabilities of_other, const __grid_constant__ Float64Panel panel) {
  trace.mark();
  if (trace.is_cancelled()) return;
  __shared__ DoubleTile tile;
  const int64_t row = panel.first_row + int64_t(trace.block()) * DoubleTile::kRows;
  const int64_t column = panel.first_column + int64_t(blockIdx.y) * DoubleTile::kColumns;

  uint32_t left_out = 0;
  if constexpr (kByGuide) left_out = above_by_guide(task, tile, row, column);
  UnitRowLoader loader(row_or_last(task.owner, row + threadIdx.x % kWarp),
                       row_or_last(task.other, column + threadIdx.x), task.owner.dim);
  DoubleSums dots;
  dots.clear();
  multiply(dots, tile, loader, task.owner.dim);
  dots.for_each([&](double &dot, int r, int c) {
    const int64_t i = row + DoubleSums::first_row() + r, j = column + DoubleSums::column(c);
    double weight = 0;
    if (i < task.owner.rows && j < task.other.rows && !task.range(task.pairs.apart, i).holds(j)) {
      const double logit = task.template logit<kMasked>(dot, i, j);
      weight = of_owner.weight(i, logit) + of_other.weight(j, logit);
      const Range members = task.range(task.pairs.classes, i);
      if constexpr (kByGuide)
        if (left_out >> (r * DoubleTile::kThreadColumns + c) & 1) weight = 0;
      if (members.holds(j)) {
        const double positives = double(members.size() + task.range(task.elsewhere, i).size() - 1);
        weight -= (of_owner.upstream_of(i) + of_other.upstream_of(j)) / positives;
      }
    }
    panel.weights[(i - panel.first_row) * panel.columns + j - panel.first_column] = weight;
  });
}

// Weights against unit rows, for columns first_dim + 0 ... 127 of the gradient.
class Float64Loader {
 public:
  __device__ Float64Loader(const Tower &other, const Float64Panel &panel, int64_t tile_row, int64_t first_dim)
      : other_(other),
        weights_(panel.weights + (tile_row + threadIdx.x % kWarp) * panel.columns),
        first_row_(panel.first_column),
        dim_(first_dim + threadIdx.x) {}

  __device__ __forceinline__ void fetch(int64_t k) {
#pragma unroll
    for (int d = 0; d < DoubleTile::kLoadedRowDepth; d += 2) {
      const double2 two = *reinterpret_cast<const double2 *>(weights_ + k + first_weight() + d);
      fetched_weight_[d] = two.x, fetched_weight_[d + 1] = two.y;
    }
    // Where a row lies is worked out by one lane each.
    const ExactRow mine = row_or_last(other_, first_row_ + k + threadIdx.x % DoubleTile::kDepth);
    const int64_t offset = mine.data - other_.source;
    inverse_ = mine.inverse;
#pragma unroll
    for (int d = 0; d < DoubleTile::kDepth; ++d) {
      const float *data = other_.source + __shfl_sync(kAllLanes, offset, d);
      fetched_[d] = dim_ < other_.dim ? __ldg(data + dim_) : 0;
    }
  }
  __device__ __forceinline__ void store(DoubleTile &tile, int stage) {
#pragma unroll
    for (int d = 0; d < DoubleTile::kLoadedRowDepth; ++d)
      tile.rows[stage][first_weight() + d][threadIdx.x % kWarp] = fetched_weight_[d];
#pragma unroll
    for (int d = 0; d < DoubleTile::kDepth; ++d)
      tile.columns[stage][d][threadIdx.x] = fetched_[d] * __shfl_sync(kAllLanes, inverse_, d);
  }

 private:
  static __device__ int first_weight() { return threadIdx.x / kWarp * DoubleTile::kLoadedRowDepth; }

  const Tower &other_;
  const double *weights_;  // of the row that this lane loads
  int64_t first_row_;      // of the other tower
  int64_t dim_;
  double fetched_weight_[DoubleTile::kLoadedRowDepth];
  double inverse_;  // of the norm of row k + lane
  float fetched_[DoubleTile::kDepth];
};

// accumulators += panel x unit rows, or = for the first panel of its rows. The sum goes on where the last panel ended:
// its bits do not depend on the panels. Grid: x tiles of the dimension, y tile rows of the panel.
__global__ void __launch_bounds__(DoubleTile::kThreads)
    float64_accumulate(Trace trace, const __grid_constant__ Float64Task task,
                       const __grid_constant__ Float64Panel panel, double *accumulators) {
  trace.mark();
  if (trace.is_cancelled()) return;
  __shared__ DoubleTile tile;
  const int64_t tile_row = int64_t(blockIdx.y) * DoubleTile::kRows;
  const int64_t first_dim = int64_t(trace.block()) * DoubleTile::kColumns;
  const int64_t dims = task.owner.padded_dim;
  double *const rows = accumulators + (panel.first_row + tile_row + DoubleSums::first_row()) * dims + first_dim;
  const auto is_real = [&](int c) { return first_dim + DoubleSums::column(c) < dims; };

  DoubleSums sums;
  sums.for_each([&](double &sum, int r, int c) {
    sum = panel.first_column > 0 && is_real(c) ? rows[r * dims + DoubleSums::column(c)] : 0;
  });
  Float64Loader loader(task.other, panel, tile_row, first_dim);
  if (panel.columns > 0) multiply(sums, tile, loader, panel.columns);
  sums.for_each([&](double &sum, int r, int c) {
    if (is_real(c)) rows[r * dims + DoubleSums::column(c)] = sum;
  });
}

}  // namespace infonce::cuda

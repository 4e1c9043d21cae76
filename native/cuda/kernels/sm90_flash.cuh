// The log-sum-exp of rows and their gradient's sums in one pass over the logits, on compute capability 9.0: for two
// towers whose keys have no softmax of their own. A row's weights are then its exponentials times a factor, which
// `finish` brings in when the statistics are known. One product less than to compute the logits for each (T. Dao et
// al., FlashAttention, 2022).
#pragma once

#include "cuda/kernels/sm90_gradient.cuh"
#include "cuda/kernels/warp.cuh"

namespace infonce::cuda::sm90 {

// What a consumer makes of a tile's dot products: exponentials, which it adds up, and how many are above the positive.
template <class Tile> class TileExponentials {
 public:
  using Task = FlashTask;
  using Weights = typename Tile::Weights;
  static constexpr bool kReadsOtherWeight = false;

  // row: the consumer's first.
  INFONCE_DEVICE TileExponentials(const FlashTask &task, int32_t row)
      : of_(task.weights), ranks_(task.ranks), row_(row) {
    apart_ = Band::of(of_.pairs.apart, row, min(int64_t(row + Tile::kRowsOfConsumer), of_.owner.rows));
#pragma unroll
    for (int h = 0; h < 2; ++h)
      rank_[h] = is_owned<Tile>(of_, row) ? task.row_rank[row + Weights::row(threadIdx.x % kWarpgroup, 0, 2 * h)] : 0,
      sum_[h] = 0, above_[h] = 0;
  }

  INFONCE_DEVICE void weigh(Weights &weights, int column, const float *) {
    const int column_end = column + Tile::kColumns;
    if (column_end > of_.other.rows || apart_.touches(column, column_end))
      mask<false>(weights, of_.pairs, row_, of_.owner.rows, column, of_.other.rows);
    if (ranks_)
      weights.for_each([&](float &dot, int, int, int q) { count_if_above(above_[q >> 1], dot, rank_[q >> 1]); });
    float sum[2] = {0, 0};
    weights.for_each([&](float &dot, int, int, int q) {
      dot = power_of_two(dot * of_.exponent);
      sum[q >> 1] += dot;
    });
    // Never so. But the compiler moves no exponential behind a branch that may change it, and so none behind the wait
    // for the product that they run beside.
    if (of_.exponent < 0) weights.clear();
    // Of a tile in float32, of all of them in float64: there may be many.
    sum_[0] += sum[0], sum_[1] += sum[1];
  }

  // slot: of the consumer's first row.
  INFONCE_DEVICE void write(const Partials &by_row, int64_t slot) const {
    const int thread = threadIdx.x % kWarpgroup;
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      double sum = sum_[h];
      int32_t above = above_[h];
#pragma unroll
      for (int bit = 1; bit <= 2; bit *= 2) {
        sum += __shfl_xor_sync(kAllLanes, sum, bit);
        above += __shfl_xor_sync(kAllLanes, above, bit);
      }
      if (thread % 4 > 0) continue;
      const int64_t at = slot + Weights::row(thread, 0, 2 * h);
      by_row.sum[at] = float(sum);
      by_row.above[at] = above;
    }
  }

 private:
  const WeightsOf &of_;
  const bool ranks_;
  const int32_t row_;
  Band apart_;
  float rank_[2];
  double sum_[2];
  int32_t above_[2];
};

// With three consumers, what is counted of a row takes the registers of 32 columns.
template <class Tile>
using FlashTile =
    GradientTile<Tile::kPlanes, Tile::kDim, Tile::kConsumers, Tile::kConsumers == 3 ? 96 : Tile::kColumns>;

// Grid: as that of `gradient`.
template <class Tile>
__global__ void __launch_bounds__(Tile::kThreads, 1)
    flash(Trace trace, const __grid_constant__ FlashTask task, const __grid_constant__ GradientMaps maps) {
#ifdef INFONCE_HAS_SM90
  if (trace.is_cancelled()) return;
  run_gradient<Tile, GradientConsumer<Tile, TileExponentials<Tile>>>(
      trace, task, task.weights, maps, [&](const auto &consumer, int32_t row) {
        consumer.weighing().write(task.by_row, blockIdx.y * task.rows_of_split + row);
        consumer.write(task.weights, task.accumulators + int64_t(blockIdx.y) * task.weights.owner.plane_size());
      });
#endif
}

}  // namespace infonce::cuda::sm90

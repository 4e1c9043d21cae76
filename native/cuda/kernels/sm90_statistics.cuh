// Statistics of the logits as in sm80_statistics.cuh, on compute capability 9.0. A consumer has whole rows of a tile,
// so only its four warps have to meet for the columns; column sums are by consumer.
#pragma once

#include <cmath>

#include "cuda/kernels/lane_statistics.cuh"
#include "cuda/kernels/sm90_logits.cuh"
#include "cuda/kernels/tile_pairs.cuh"
#include "cuda/kernels/trace.cuh"

namespace infonce::cuda::sm90 {

// Of a consumer. Twice, by turns, so that it synchronises once a tile: what is written for a tile is read after the
// next.
struct alignas(16) ColumnStatistics {
  float rank[2][kTileColumns];
  float least_rank[2][kTileColumns / 8];  // of eight neighbours
  float sum[2][4][kTileColumns];
  int32_t above[2][4][kTileColumns];
};

template <class Tile> struct StatisticsShared {
  LogitsBarriers<Tile> barriers;
  ColumnStatistics columns[Tile::kConsumers];
};

// Adds up above[c] of eight neighbouring columns, at most seven rows a lane's, over the warp's rows. A lane gets the
// column that sum_over_rows leaves it.
INFONCE_DEVICE int32_t count_over_rows(const int32_t (&above)[8], int lane, int column) {
  int32_t packed[2];  // four columns to 32 bits
#pragma unroll
  for (int half = 0; half < 2; ++half)
    packed[half] = above[4 * half] | above[4 * half + 1] << 8 | above[4 * half + 2] << 16 | above[4 * half + 3] << 24;
  const bool upper = lane & 4;  // which half the column is in
  int32_t mine = upper ? packed[1] : packed[0];
  mine += __shfl_xor_sync(kAllLanes, upper ? packed[0] : packed[1], 4);
  mine += __shfl_xor_sync(kAllLanes, mine, 8);
  mine += __shfl_xor_sync(kAllLanes, mine, 16);
  return mine >> (column & 3) * 8 & 255;
}

// What a consumer makes of the tiles of one segment.
template <class Tile, Terms kTerms> class TileStatistics {
 public:
  using Sums = typename Tile::Sums;

  // row: the consumer's first.
  INFONCE_DEVICE TileStatistics(const StatisticsTask &task, ColumnStatistics &shared, int64_t row)
      : task_(task), shared_(shared), row_(row) {
    by_row_.clear();
    apart_ = Band::of(task.pairs.apart, row, min(row + Sums::kRows, task.rows.rows));
    const int thread = threadIdx.x % kWarpgroup;
#pragma unroll
    for (int m = 0; m < Sums::kRowFragments; ++m)
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        row_rank_[m][h] = task.row_rank[row + Sums::row(thread, m, 2 * h)];
        least_rank_ = fminf(least_rank_, row_rank_[m][h]);
      }
  }

  // Of a triangle, the tile on the consumer's diagonal has its pairs both ways; tiles left of it are those above it.
  INFONCE_DEVICE int64_t diagonal() const { return task_.triangular ? row_ / kTileColumns * kTileColumns : 0; }
  INFONCE_DEVICE bool has_columns(int64_t column) const {
    return task_.column_rank && !(task_.triangular && column == diagonal());
  }

  // Before the products: what they hide the way of.
  INFONCE_DEVICE float read_rank(int64_t column) const {
    return has_columns(column) ? task_.column_rank[column + threadIdx.x % kWarpgroup] : INFINITY;
  }

  template <class Consumer> INFONCE_DEVICE void add(Sums &sums, int64_t column, float rank, const Consumer &consumer) {
    const bool ragged = row_ + Sums::kRows > task_.rows.rows || column + Tile::kColumns > task_.columns.rows;
    if (ragged || task_.pairs.row_ids || apart_.touches(column, column + Tile::kColumns))
      mask(sums, task_.pairs, row_, task_.rows.rows, column, task_.columns.rows);
    if constexpr (kTerms != Terms::kExponentials) {
      if constexpr (kTerms == Terms::kOnline) by_row_.raise(sums, task_.exponent);
      if (task_.ranks)
        sums.for_each([&](float &dot, int m, int, int q) {
          count_if_above(by_row_.above[m][q >> 1], dot, row_rank_[m][q >> 1]);
        });
      if constexpr (kTerms == Terms::kSigmoids) return by_row_.add_sigmoids(sums, task_.exponent, task_.shift);
      sums.for_each([&](float &dot, int m, int, int q) {
        by_row_.sum[m][q >> 1] += power_of_two((dot - by_row_.base(m, q >> 1)) * task_.exponent);
      });
    } else {
      share_ranks(rank);
      consumer.synchronize_own();
      write_columns(turn_ ^ 1);
      const bool of_columns = has_columns(column);
#pragma unroll
      for (int n = 0; n < Sums::kColumnFragments; n += 4) add_group(sums, n, of_columns);
      column_ = of_columns ? column : -1;
      turn_ ^= 1;
    }
  }

  // After the segment's last tile. slot: of the partial sums, by row and by column.
  template <class Consumer> INFONCE_DEVICE void write(int64_t row_slot, const Consumer &consumer) {
    if constexpr (kTerms == Terms::kExponentials) {
      consumer.synchronize_own();
      write_columns(turn_ ^ 1);
      column_ = -1;
    }
    by_row_.join_lanes(task_.exponent);
    const int thread = threadIdx.x % kWarpgroup;
    if (thread % 4 > 0) return;
#pragma unroll
    for (int m = 0; m < Sums::kRowFragments; ++m)
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const int64_t at = row_slot + Sums::row(thread, m, 2 * h);
        task_.by_row.sum[at] = by_row_.sum[m][h];
        task_.by_row.above[at] = by_row_.above[m][h];
        if constexpr (kTerms != Terms::kExponentials) task_.by_row.maximum[at] = by_row_.maximum[m][h];
      }
  }

 private:
  INFONCE_DEVICE void share_ranks(float rank) {
    const int at = threadIdx.x % kWarpgroup;
    shared_.rank[turn_][at] = rank;
#pragma unroll
    for (int bit = 1; bit < 8; bit *= 2) rank = fminf(rank, __shfl_xor_sync(kAllLanes, rank, bit));
    if (at % 8 == 0) shared_.least_rank[turn_][at / 8] = rank;
  }

  // Four fragments, of which a lane has eight neighbouring columns.
  INFONCE_DEVICE void add_group(Sums &sums, int n, bool of_columns) {
    const int thread = thread_index() % kWarpgroup, lane = thread % 32, first = Sums::column(thread, n, 0);
    float sum[8];
#pragma unroll
    for (int c = 0; c < 8; ++c) {
      sum[c] = 0;
#pragma unroll
      for (int m = 0; m < Sums::kRowFragments; ++m)
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          const float dot = sums.at[m][n + c / 2][2 * h + c % 2], exponential = power_of_two(dot * task_.exponent);
          by_row_.sum[m][h] += exponential;
          sum[c] += exponential;
        }
    }
    int32_t above[8] = {};
    const bool counts = task_.ranks && has_any_above(sums, n, first);
    if (counts) count_group(sums, n, first, above);
    if (!of_columns) return;
    const int column = sum_over_rows(sum, lane);
    shared_.sum[turn_][thread / 32][first + column] = sum[0];
    shared_.above[turn_][thread / 32][first + column] = counts ? count_over_rows(above, lane, column) : 0;
  }

  // Counting costs as much as all else. Once a model has learnt, few groups have anything to count.
  INFONCE_DEVICE bool has_any_above(const Sums &sums, int n, int first) const {
    float largest = -INFINITY;
#pragma unroll
    for (int m = 0; m < Sums::kRowFragments; ++m)
#pragma unroll
      for (int k = 0; k < 4; ++k)
#pragma unroll
        for (int q = 0; q < 4; ++q) largest = fmaxf(largest, sums.at[m][n + k][q]);
    return __any_sync(kAllLanes, largest > fminf(least_rank_, shared_.least_rank[turn_][first / 8]));
  }

  INFONCE_DEVICE void count_group(const Sums &sums, int n, int first, int32_t (&above)[8]) {
    float rank[8];
    *reinterpret_cast<float4 *>(rank) = *reinterpret_cast<const float4 *>(&shared_.rank[turn_][first]);
    *reinterpret_cast<float4 *>(rank + 4) = *reinterpret_cast<const float4 *>(&shared_.rank[turn_][first + 4]);
#pragma unroll
    for (int c = 0; c < 8; ++c)
#pragma unroll
      for (int m = 0; m < Sums::kRowFragments; ++m)
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          const float dot = sums.at[m][n + c / 2][2 * h + c % 2];
          count_if_above(by_row_.above[m][h], dot, row_rank_[m][h]);
          count_if_above(above[c], dot, rank[c]);
        }
  }

  // Of the tile before.
  INFONCE_DEVICE void write_columns(int turn) {
    if (column_ < 0) return;
    const int at = threadIdx.x % kWarpgroup;
    float sum = shared_.sum[turn][0][at];
    int32_t above = shared_.above[turn][0][at];
#pragma unroll
    for (int w = 1; w < 4; ++w) sum += shared_.sum[turn][w][at], above += shared_.above[turn][w][at];
    const int64_t first_row = int64_t(task_.first_tile_row) * Tile::kRows;
    const int64_t slot = (row_ - first_row) / Sums::kRows * task_.columns.padded_rows + column_ + at;
    task_.by_column.sum[slot] = sum;
    task_.by_column.above[slot] = above;
  }

  const StatisticsTask &task_;
  ColumnStatistics &shared_;
  const int64_t row_;
  Band apart_;
  RowStatistics<Sums, kTerms> by_row_;
  float row_rank_[Sums::kRowFragments][2], least_rank_ = INFINITY;
  int turn_ = 0;
  int64_t column_ = -1;  // of the tile whose columns are to be written
};

// Grid: blocks that stay. Exponentials alone have column statistics.
template <class Tile, Terms kTerms>
__global__ void INFONCE_CLUSTER_OF(Tile::kBlocks) __launch_bounds__(Tile::kThreads, 1)
    statistics(Trace trace, const __grid_constant__ StatisticsTask task, const __grid_constant__ CUtensorMap rows,
               const __grid_constant__ CUtensorMap columns) {
#ifdef INFONCE_HAS_SM90
  const bool is_cancelled = trace.is_cancelled();
  extern __shared__ __align__(kBoxAlignment) unsigned char shared[];
  auto &own = *reinterpret_cast<StatisticsShared<Tile> *>(shared + Tile::kPipelineBytes);
  const uint32_t pipeline = shared_address(shared);
  if (threadIdx.x == 0) own.barriers.init();
  const bool goes_on = all_go_on<Tile::kBlocks>(is_cancelled, own.barriers.cancelled);

  const int warpgroup = warpgroup_index(), block = Tile::kBlocks == 1 ? 0 : rank_in_cluster();
  const int chunks = static_cast<int>(task.rows.padded_dim / kBoxDepth);
  const int64_t first_row = int64_t(task.first_tile_row) * Tile::kRows;
  const int64_t first_column = task.triangular ? first_row : 0;
  if (warpgroup == 0) {
    give_registers<Tile::kProducerRegisters>();
    trace.mark(kIdleThread);
    const LogitsSource source = {rows,
                                 columns,
                                 int32_t(task.rows.padded_rows),
                                 int32_t(task.columns.padded_rows),
                                 int32_t(first_row),
                                 int32_t(first_column),
                                 chunks,
                                 block};
    if (goes_on && threadIdx.x == 0) produce<Tile>(source, task.order, own.barriers, pipeline);
  } else if (goes_on) {
    take_registers<Tile::kConsumerRegisters>();
    Consumer<Tile> consumer(own.barriers, pipeline, warpgroup - 1, chunks);
    for_each_segment<Tile::kBlocks>(task.order, [&](const Segment &segment) {
      const int64_t row = first_row + int64_t(segment.strip) * Tile::kRows + consumer.first_row();
      TileStatistics<Tile, kTerms> statistics(task, own.columns[warpgroup - 1], row);
#pragma unroll 1
      for (int tile = segment.first_tile; tile < segment.end_tile; ++tile) {
        const int64_t column = first_column + column_of<Tile>(tile, block);
        const bool is_last = tile + 1 == segment.end_tile;
        if (column < statistics.diagonal()) {
          consumer.skip(is_last);
          continue;
        }
        const float rank = kTerms == Terms::kExponentials ? statistics.read_rank(column) : 0;
        typename Tile::Sums sums;
        consumer.multiply(sums, is_last);
        statistics.add(sums, column, rank, consumer);
      }
      const int64_t rows_of_launch = int64_t(task.order.strips) * Tile::kRows;
      const int64_t slot = segment.run * Tile::kBlocks + block;
      statistics.write(slot * rows_of_launch + row - first_row, consumer);
    });
    consumer.end();
  }
  part_blocks<Tile::kBlocks>();
#endif
}

}  // namespace infonce::cuda::sm90

// Writes the panel of weights W_ij as in sm80_panel.cuh, on compute capability 9.0, candidates in their own order.
#pragma once

#include "cuda/kernels/sigmoid_tile.cuh"
#include "cuda/kernels/sm90_logits.cuh"
#include "cuda/kernels/tile_pairs.cuh"
#include "cuda/kernels/trace.cuh"

namespace infonce::cuda::sm90 {

// Weights and sums of a consumer's rows, and of a tile's candidates, those twice by turns. log2_sum: online only. Also
// what a thread reads of its own rows is read anew for each group of columns: from registers the compiler would compute
// all exponentials of the rows before those of the columns, and has no registers to keep them in.
struct alignas(16) WeightsShared {
  float row_weight[kTileColumns], row_log2_sum[kTileColumns];
  float weight[2][kTileColumns], log2_sum[2][kTileColumns];
};

template <class Tile> struct PanelShared {
  LogitsBarriers<Tile> barriers;
  WeightsShared weights[Tile::kConsumers];
};

// What a consumer makes of the tiles of one segment.
template <class Tile, Terms kTerms> class TileWeights {
 public:
  using Sums = typename Tile::Sums;
  static constexpr bool kOnline = kTerms == Terms::kOnline;

  // row: the consumer's first.
  template <class Consumer>
  INFONCE_DEVICE TileWeights(const PanelTask &task, WeightsShared &shared, int64_t row, const Consumer &consumer)
      : task_(task), of_(task.weights), shared_(shared), row_(row) {
    const int64_t row_end = min(row + Sums::kRows, of_.owner.rows);
    apart_ = Band::of(of_.pairs.apart, row, row_end);
    classes_ = Band::of(of_.pairs.classes, row, row_end);
    const int thread = threadIdx.x % kWarpgroup;
    consumer.synchronize_own();  // none reads those of the segment before
    if (thread < Sums::kRows) {
      shared.row_weight[thread] = of_.owner_weight[row + thread];
      if constexpr (kOnline) shared.row_log2_sum[thread] = of_.owner_log2_sum[row + thread];
    }
  }

  // Before the products: what they hide the way of.
  INFONCE_DEVICE float2 read_candidate(int64_t column) const {
    const int64_t j = column + threadIdx.x % kWarpgroup;
    return make_float2(of_.other_weight[j], kOnline ? of_.other_log2_sum[j] : 0);
  }

  template <class Consumer>
  INFONCE_DEVICE void write(Sums &sums, int64_t column, float2 candidate, const Consumer &consumer) {
    shared_.weight[turn_][threadIdx.x % kWarpgroup] = candidate.x;
    if constexpr (kOnline) shared_.log2_sum[turn_][threadIdx.x % kWarpgroup] = candidate.y;
    consumer.synchronize_own();
#pragma unroll
    for (int n = 0; n < Sums::kColumnFragments; n += 4) {
      weigh_group(sums, n);
      __syncwarp();  // nothing is read before it that is used after it
    }
    const int64_t column_end = column + Tile::kColumns;
    if (of_.pairs.row_ids || apart_.touches(column, column_end) || classes_.touches(column, column_end))
      take_pairs_off(sums, of_, row_, column);
    // Rows too: the panel is multiplied transposed as well.
    if (kOnline && (row_ + Sums::kRows > of_.owner.rows || column_end > of_.other.rows))
      take_padding_off(sums, of_, row_, column);
    store(sums, column);
    turn_ ^= 1;
  }

 private:
  INFONCE_DEVICE static void read_group(float (&values)[8], const float *from) {
    *reinterpret_cast<float4 *>(values) = *reinterpret_cast<const float4 *>(from);
    *reinterpret_cast<float4 *>(values + 4) = *reinterpret_cast<const float4 *>(from + 4);
  }

  // Four fragments, of which a lane has eight neighbouring candidates.
  INFONCE_DEVICE void weigh_group(Sums &sums, int n) {
    const int thread = thread_index() % kWarpgroup, first = Sums::column(thread, n, 0);
    float weight[8], log2_sum[8];
    read_group(weight, &shared_.weight[turn_][first]);
    if constexpr (kOnline) read_group(log2_sum, &shared_.log2_sum[turn_][first]);
#pragma unroll
    for (int m = 0; m < Sums::kRowFragments; ++m)
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const int row = Sums::row(thread, m, 2 * h);
        const float row_weight = shared_.row_weight[row], row_log2_sum = kOnline ? shared_.row_log2_sum[row] : 0;
#pragma unroll
        for (int c = 0; c < 8; ++c) {
          float &dot = sums.at[m][n + c / 2][2 * h + c % 2];
          if constexpr (kOnline)
            dot = row_weight * power_of_two(fmaf(dot, of_.exponent, -row_log2_sum)) +
                  weight[c] * power_of_two(fmaf(dot, of_.exponent, -log2_sum[c]));
          else if constexpr (kTerms == Terms::kSigmoids)
            dot = SigmoidOfLogit(fmaf(dot, of_.exponent, of_.shift)).slope * (row_weight + weight[c]);
          else dot = power_of_two(dot * of_.exponent) * (row_weight + weight[c]);
        }
      }
  }

  INFONCE_DEVICE void store(const Sums &sums, int64_t column) const {
    const int64_t plane = int64_t(task_.panel_rows) * task_.panel_columns;
    const int64_t first_row = row_ - int64_t(task_.first_tile_row) * Tile::kRows;
    __nv_bfloat16 *corner =
        task_.panel + first_row * task_.panel_columns + column - int64_t(task_.first_tile) * Tile::kColumns;
#pragma unroll
    for (int m = 0; m < Sums::kRowFragments; ++m)
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const int thread =
            thread_index() % kWarpgroup;  // anew for each row: its address is not worth a register before
        __nv_bfloat16 *to =
            corner + int64_t(Sums::row(thread, m, 2 * h)) * task_.panel_columns + Sums::column(thread, 0, 0);
#pragma unroll
        for (int n = 0; n < Sums::kColumnFragments; n += 4) {
          uint32_t planes[4][Tile::kPlanes];
#pragma unroll
          for (int k = 0; k < 4; ++k)
            split<Tile::kPlanes>(sums.at[m][n + k][2 * h], sums.at[m][n + k][2 * h + 1], planes[k]);
#pragma unroll
          for (int p = 0; p < Tile::kPlanes; ++p)
            store16(to + p * plane + Sums::column(0, n, 0), planes[0][p], planes[1][p], planes[2][p], planes[3][p]);
        }
      }
  }

  const PanelTask &task_;
  const WeightsOf &of_;
  WeightsShared &shared_;
  const int64_t row_;
  Band apart_, classes_;
  int turn_ = 0;
};

// Grid: blocks that stay. order: of the panel's tiles.
template <class Tile, Terms kTerms>
__global__ void INFONCE_CLUSTER_OF(Tile::kBlocks) __launch_bounds__(Tile::kThreads, 1)
    write_panel(Trace trace, const __grid_constant__ PanelTask task, const __grid_constant__ TileOrder order,
                const __grid_constant__ CUtensorMap rows, const __grid_constant__ CUtensorMap columns) {
#ifdef INFONCE_HAS_SM90
  const bool is_cancelled = trace.is_cancelled();
  extern __shared__ __align__(kBoxAlignment) unsigned char shared[];
  auto &own = *reinterpret_cast<PanelShared<Tile> *>(shared + Tile::kPipelineBytes);
  const uint32_t pipeline = shared_address(shared);
  if (threadIdx.x == 0) own.barriers.init();
  const bool goes_on = all_go_on<Tile::kBlocks>(is_cancelled, own.barriers.cancelled);

  const WeightsOf &of = task.weights;
  const int warpgroup = warpgroup_index(), block = Tile::kBlocks == 1 ? 0 : rank_in_cluster();
  const int chunks = static_cast<int>(of.owner.padded_dim / kBoxDepth);
  const int64_t first_row = int64_t(task.first_tile_row) * Tile::kRows;
  const int64_t first_column = int64_t(task.first_tile) * Tile::kColumns;
  if (warpgroup == 0) {
    give_registers<Tile::kProducerRegisters>();
    trace.mark(kIdleThread);
    const LogitsSource source = {rows,
                                 columns,
                                 int32_t(of.owner.padded_rows),
                                 int32_t(of.other.padded_rows),
                                 int32_t(first_row),
                                 int32_t(first_column),
                                 chunks,
                                 block};
    if (goes_on && threadIdx.x == 0) produce<Tile>(source, order, own.barriers, pipeline);
  } else if (goes_on) {
    take_registers<Tile::kConsumerRegisters>();
    Consumer<Tile> consumer(own.barriers, pipeline, warpgroup - 1, chunks);
    for_each_segment<Tile::kBlocks>(order, [&](const Segment &segment) {
      const int64_t row = first_row + int64_t(segment.strip) * Tile::kRows + consumer.first_row();
      TileWeights<Tile, kTerms> weights(task, own.weights[warpgroup - 1], row, consumer);
#pragma unroll 1
      for (int tile = segment.first_tile; tile < segment.end_tile; ++tile) {
        const int64_t column = first_column + column_of<Tile>(tile, block);
        const float2 candidate = weights.read_candidate(column);
        typename Tile::Sums sums;
        sums.clear();  // or the compiler keeps old sums beside the weights made of them
        consumer.multiply(sums, tile + 1 == segment.end_tile);
        weights.write(sums, column, candidate, consumer);
      }
    });
    consumer.end();
  }
  part_blocks<Tile::kBlocks>();
#endif
}

}  // namespace infonce::cuda::sm90

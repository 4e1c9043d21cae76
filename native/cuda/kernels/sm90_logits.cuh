// The dot products of all rows of one tower with all rows of another, tile by tile, on compute capability 9.0: what the
// log-sum-exp and the weights panel are computed from. Blocks stay and take segments of the order of tiles. One
// warpgroup, the producer, copies boxes of 64 elements of the dimension; two, the consumers, multiply them. All walk
// through the same segments, tiles and chunks of the dimension.
//
// Where both operands stream, blocks run in pairs, as clusters: at a time they have two neighbouring tiles of the same
// rows, of which each copies half for both. Alone a block would ask 48 bytes a clock of the second-level cache to keep
// the tensor cores busy with one product, in a pair it asks 32.
#pragma once

#include "cuda/kernels/sm90_wgmma.cuh"
#include "cuda/kernels/tasks.h"
#include "cuda/kernels/tile_order.h"
#include "cuda/kernels/tile_shapes.h"

namespace infonce::cuda::sm90 {

template <int kPlanesOfRows, TileShape kShape> struct LogitsTile {
  static constexpr int kPlanes = kPlanesOfRows;
  static constexpr bool kKeepsRows = kShape == TileShape::kKeptWarpgroups;
  static constexpr bool kTakesOver = kPlanes == 3;  // as in sm80_logits.cuh
  static_assert(kTakesOver == (kShape == TileShape::kSmallWarpgroups), "two sets of accumulators need a small tile");
  static_assert(!kKeepsRows || kPlanes == 1, "shared memory keeps one plane of rows");
  static constexpr int kRows = rows_of(kShape), kColumns = kTileColumns;
  static constexpr int kConsumers = 2, kThreads = (1 + kConsumers) * kWarpgroup;
  static constexpr int kConsumerRows = kRows / kConsumers;
  static constexpr int kBlocks = blocks_of_cluster(kShape), kRowsOfCopy = kKeepsRows ? kConsumerRows : kRows / kBlocks;
  static_assert(!kKeepsRows || kBlocks == 1, "rows that are kept are copied once");
  // The producer of a pair needs more.
  static constexpr int kProducerRegisters = kBlocks == 1 ? 24 : 56, kConsumerRegisters = kBlocks == 1 ? 240 : 224;
  using Sums = WarpgroupSums<kConsumerRows / 64, kColumns / 8, ColumnsByLane>;

  // Four chunks of kept rows are all of dimension 256; of smaller ones they hold the next strip's as well.
  static constexpr int kKeptChunks = kKeepsRows ? kMostDimOfKeptWarpgroups / kBoxDepth : 0;
  static constexpr int kRowPlaneBytes = kRows * kBoxRowBytes, kColumnPlaneBytes = kColumns * kBoxRowBytes;
  static constexpr int kRowBytes = kPlanes * kRowPlaneBytes, kColumnBytes = kPlanes * kColumnPlaneBytes;
  static constexpr int kStageBytes = (kKeepsRows ? 0 : kRowBytes) + kColumnBytes;
  // Five stages of kept rows: the consumers are a tile apart, and a tile of dimension 256 has four.
  static constexpr int kStages = kKeepsRows ? 5 : kPlanes == 1 ? 4 : 2;
  static_assert(kStages >= kKeptChunks, "a tile is in the stages before the second consumer has its rows");
  static constexpr int kPipelineBytes = kKeptChunks * kRowBytes + kStages * kStageBytes;
};

template <class Tile> struct LogitsBarriers {
  // Every warp has products of its own. Of a pair, both blocks copy into the stages of either.
  static constexpr int kReleases = Tile::kBlocks * Tile::kConsumers * kWarpgroup / 32;
  uint64_t full[Tile::kStages], empty[Tile::kStages];
  // By consumer: one is done with a strip a tile before the other.
  uint64_t rows_full[Tile::kKeptChunks + 1][Tile::kConsumers], rows_empty[Tile::kKeptChunks + 1][Tile::kConsumers];
  int32_t cancelled;  // of all_go_on

  INFONCE_DEVICE void init() {
    for (int s = 0; s < Tile::kStages; ++s) {
      init_barrier(shared_address(&full[s]), 1);
      init_barrier(shared_address(&empty[s]), kReleases);
    }
    for (int chunk = 0; chunk < Tile::kKeptChunks; ++chunk)
      for (int c = 0; c < Tile::kConsumers; ++c) {
        init_barrier(shared_address(&rows_full[chunk][c]), 1);
        init_barrier(shared_address(&rows_empty[chunk][c]), kWarpgroup / 32);
      }
    publish_barriers();
  }
};

// Where operands are: rows and columns of planes below each other, from the first of the matrix on. The accelerator
// counts in 32 bits.
struct LogitsSource {
  const CUtensorMap &rows, &columns;
  int32_t padded_rows, padded_columns;
  int32_t first_row, first_column;
  int32_t chunks;  // of the dimension
  int32_t rank;    // of the block in its cluster
};

// The column of tiles that a block has of those that its cluster has at a time.
template <class Tile> INFONCE_DEVICE int64_t column_of(int tile, int rank) {
  return (int64_t(tile) * Tile::kBlocks + rank) * Tile::kColumns;
}

template <class Tile> INFONCE_DEVICE uint32_t place_of_kept(uint32_t pipeline, int chunk) {
  return pipeline + chunk * Tile::kRowBytes;
}
template <class Tile> INFONCE_DEVICE uint32_t place_of_stage(uint32_t pipeline, int stage) {
  return pipeline + Tile::kKeptChunks * Tile::kRowBytes + stage * Tile::kStageBytes;
}

// The producer's work, by one thread. A stage is filled when all blocks that copy into it have released theirs.
template <class Tile>
INFONCE_DEVICE void produce(const LogitsSource &source, const TileOrder &order, LogitsBarriers<Tile> &barriers,
                            uint32_t pipeline) {
  constexpr int kGroup = 32;  // rows to a step of the columns' map
  Ring<Tile::kStages> ring;
  Ring<Tile::kKeptChunks + !Tile::kKeepsRows> kept[Tile::kConsumers];
  for_each_segment<Tile::kBlocks>(order, [&](const Segment &segment) {
    const int row = source.first_row + segment.strip * Tile::kRows + source.rank * Tile::kRowsOfCopy;
    const auto copy_rows = [&](uint32_t to, uint32_t barrier, int chunk) {
#pragma unroll
      for (int p = 0; p < Tile::kPlanes; ++p) {
        const uint32_t box = to + p * Tile::kRowPlaneBytes + source.rank * Tile::kRowsOfCopy * kBoxRowBytes;
        const int x = chunk * kBoxDepth, y = p * source.padded_rows + row;
        if constexpr (Tile::kBlocks == 1) copy_box(box, source.rows, barrier, x, y);
        else copy_box_to((1 << Tile::kBlocks) - 1, box, source.rows, barrier, x, y);
      }
    };
    const auto keep_rows = [&](int consumer, int chunk) {
      auto &ring = kept[consumer];
      const uint32_t full = shared_address(&barriers.rows_full[ring.stage][consumer]);
      const int first = consumer * Tile::kConsumerRows;
      wait(shared_address(&barriers.rows_empty[ring.stage][consumer]), ring.parity ^ 1);
      arrive_expecting(full, Tile::kRowBytes / Tile::kConsumers);
      copy_box(place_of_kept<Tile>(pipeline, ring.stage) + first * kBoxRowBytes, source.rows, full, chunk * kBoxDepth,
               row + first);
      ring.advance();
    };
    for (int tile = segment.first_tile; tile < segment.end_tile; ++tile) {
      const bool keeps = Tile::kKeepsRows && tile == segment.first_tile;
      const int column = source.first_column + int(column_of<Tile>(tile, source.rank));
      for (int chunk = 0; chunk < source.chunks; ++chunk) {
        if (keeps) keep_rows(0, chunk);
        const uint32_t full = shared_address(&barriers.full[ring.stage]);
        const uint32_t stage = place_of_stage<Tile>(pipeline, ring.stage);
        wait(shared_address(&barriers.empty[ring.stage]), ring.parity ^ 1);
        arrive_expecting(full, Tile::kStageBytes);
        if constexpr (!Tile::kKeepsRows) copy_rows(stage, full, chunk);
#pragma unroll
        for (int p = 0; p < Tile::kPlanes; ++p)
          copy_box(stage + Tile::kStageBytes - Tile::kColumnBytes + p * Tile::kColumnPlaneBytes, source.columns, full,
                   chunk * kBoxDepth, 0, 0, 0, (p * source.padded_columns + column) / kGroup);
        ring.advance();
      }
      // Of the consumer that is done with the strip before a tile later, and with this one's first.
      for (int chunk = 0; keeps && chunk < source.chunks; ++chunk) keep_rows(1, chunk);
    }
  });
}

// A consumer: the warpgroup with the upper or the lower rows of every tile. Where rows are kept the two take turns:
// while one issues the products of a tile, the other has those of its last tile, and computes with them.
template <class Tile> class Consumer {
 public:
  using Sums = typename Tile::Sums;

  INFONCE_DEVICE Consumer(LogitsBarriers<Tile> &barriers, uint32_t pipeline, int index, int chunks)
      : barriers_(barriers), pipeline_(pipeline), index_(index), chunks_(chunks) {
    if (Tile::kKeepsRows && index_ == 1) arrive_for(turn_of(0), kTakers);
  }

  // After the last tile.
  INFONCE_DEVICE void end() {
    if (Tile::kKeepsRows && index_ == 0) synchronize(turn_of(0), kTakers);
  }

  INFONCE_DEVICE int first_row() const { return index_ * Tile::kConsumerRows; }  // of a tile

  // For the consumer's own warps.
  INFONCE_DEVICE void synchronize_own() const { synchronize(3 + index_, kWarpgroup); }

  // sums = the dot products of the next tile.
  INFONCE_DEVICE void multiply(Sums &sums, bool is_last_of_segment) {
    KeptRing kept = kept_;
    take_turn();
    if constexpr (Tile::kTakesOver) {
      sums.clear();
#pragma unroll 1
      for (int chunk = 0; chunk < chunks_; ++chunk) {
        Sums of_chunk;
        issue<true>(of_chunk, kept);
        wait_for_products<0>();
        receive(of_chunk);
        release(barriers_.empty[ring_.stage]);
        ring_.advance();
        sums.add(of_chunk);
      }
    } else {
      // The first apart: what begins anew must not depend on a condition, or old sums would be kept for it.
      issue<true>(sums, kept);
      int previous = ring_.stage;
      ring_.advance();
#pragma unroll 1
      for (int chunk = 1; chunk < chunks_; ++chunk) {
        issue<false>(sums, kept);
        wait_for_products<kPairs>();  // those of the chunk before are done
        release(barriers_.empty[previous]);
        previous = ring_.stage;
        ring_.advance();
      }
      pass_turn();
      wait_for_products<0>();
      receive(sums);
      release(barriers_.empty[previous]);
    }
    if (is_last_of_segment) leave_rows();
  }

  // Lets a tile pass.
  INFONCE_DEVICE void skip(bool is_last_of_segment) {
    KeptRing kept = kept_;
    take_turn();
    for (int chunk = 0; chunk < chunks_; ++chunk) {
      if constexpr (Tile::kKeepsRows) {
        wait(shared_address(&barriers_.rows_full[kept.stage][index_]), kept.parity);
        kept.advance();
      }
      wait(shared_address(&barriers_.full[ring_.stage]), ring_.parity);
      release(barriers_.empty[ring_.stage]);
      ring_.advance();
    }
    pass_turn();
    if (is_last_of_segment) leave_rows();
  }

 private:
  using KeptRing = Ring<Tile::kKeptChunks + !Tile::kKeepsRows>;
  static constexpr int kPairs = Tile::kPlanes * (Tile::kPlanes + 1) / 2;  // of planes, whose products are a group each
  static constexpr int kTakers = Tile::kConsumers * kWarpgroup;

  static INFONCE_DEVICE int turn_of(int index) { return 1 + index; }
  INFONCE_DEVICE void take_turn() const {
    if constexpr (Tile::kKeepsRows) synchronize(turn_of(index_), kTakers);
  }
  INFONCE_DEVICE void pass_turn() const {
    if constexpr (Tile::kKeepsRows) arrive_for(turn_of(1 - index_), kTakers);
  }
  static INFONCE_DEVICE void release(uint64_t &empty) {
    __syncwarp();
    const int lane = threadIdx.x % 32;
    if constexpr (Tile::kBlocks == 1) {
      if (lane == 0) arrive(shared_address(&empty));
    } else {
      if (lane < Tile::kBlocks) arrive_in(lane, shared_address(&empty));
    }
  }
  INFONCE_DEVICE void leave_rows() {
    if constexpr (Tile::kKeepsRows)
      for (int chunk = 0; chunk < chunks_; ++chunk) {
        release(barriers_.rows_empty[kept_.stage][index_]);
        kept_.advance();
      }
  }

  // The products of the next chunk, when it is there. Those of planes pa and pb with pa + pb < kPlanes, the smallest
  // first, so that they are added to small sums.
  template <bool kBeginsAnew> INFONCE_DEVICE void issue(Sums &sums, KeptRing &kept) {
    const uint32_t stage = place_of_stage<Tile>(pipeline_, ring_.stage);
    uint32_t rows = stage;
    if constexpr (Tile::kKeepsRows) {
      rows = place_of_kept<Tile>(pipeline_, kept.stage);
      wait(shared_address(&barriers_.rows_full[kept.stage][index_]), kept.parity);
      kept.advance();
    }
    wait(shared_address(&barriers_.full[ring_.stage]), ring_.parity);
    const Descriptor a = describe_rows(rows + index_ * Tile::kConsumerRows * kBoxRowBytes);
    const Descriptor b = describe_rows(stage + Tile::kStageBytes - Tile::kColumnBytes);
    if constexpr (Tile::kPlanes == 1) {
      issue_pair<kBeginsAnew>(sums, a, b);
    } else {
      if constexpr (kBeginsAnew) sums.clear();
      int pa = 0, both = Tile::kPlanes - 1;
#pragma unroll 1  // or the compiler describes all their operands at once, in registers that there are not
      for (int pair = 0; pair < kPairs; ++pair) {
        issue_pair<false>(sums, a.further(pa * Tile::kRowPlaneBytes), b.further((both - pa) * Tile::kColumnPlaneBytes));
        if (++pa > both) pa = 0, --both;
      }
    }
  }

  // The products of a plane of each operand.
  template <bool kBeginsAnew> static INFONCE_DEVICE void issue_pair(Sums &sums, Descriptor a, Descriptor b) {
    begin_products();
#pragma unroll
    for (int k = 0; k < kBoxDepth / kProductDepth; ++k)
#pragma unroll
      for (int m = 0; m < Sums::kRowFragments; ++m)
        infonce::cuda::multiply<false, false>(sums.at[m], a.further(m * 64 * kBoxRowBytes + k * kStepBytes),
                                              b.further(k * kStepBytes), !kBeginsAnew || k > 0);
    commit_products();
  }

  LogitsBarriers<Tile> &barriers_;
  const uint32_t pipeline_;
  const int index_, chunks_;
  Ring<Tile::kStages> ring_;
  KeptRing kept_;
};

}  // namespace infonce::cuda::sm90

// The product of a panel of weights with unit rows on compute capability 9.0: what accumulate_panel of sm80_panel.cuh
// computes, and the same of the panel transposed, whose rows are then the depth. Blocks stay and take tile after tile:
// while the sums of one are on their way to memory, the producer fills the stages of the next and products of it run.
//
// A block's tile has 128 rows, 64 to a consumer. Blocks run in pairs, as clusters, on 256 rows and the same dimensions:
// each copies half of the unit rows for both. With one product a tile of 128 x 256 would ask 48 bytes a clock of the
// second-level cache to keep the tensor cores busy, twice a multiprocessor's share of it; in a pair it asks 32.
#pragma once

#include "cuda/kernels/sm90_wgmma.cuh"
#include "cuda/kernels/tasks.h"
#include "cuda/kernels/trace.cuh"

namespace infonce::cuda::sm90 {

// PanelSide as the kernel reads it, with the unit rows of the other side.
struct ProductSide {
  CUtensorMap unit_rows;  // [planes][all_unit_rows][padded_dim], in boxes of kSharedRows
  int32_t all_unit_rows, first_unit_row;
  CUtensorMap sums;  // [splits][rows_of_split][padded_dim], in boxes of a SumsWriter
  int32_t rows_of_split, first_row;
  bool wanted, add;
};

// PanelProductTask as the kernel reads it.
struct ProductTask {
  CUtensorMap panel;  // [planes][panel_rows][columns], in boxes of kDepthOfStage rows
  int32_t panel_rows;
  int32_t rows, columns;  // in use
  int32_t padded_dim, splits;
  bool triangular;
  ProductSide of_rows, of_columns;
};

constexpr int kPair = 2;  // blocks of a cluster
constexpr int kDepthOfStage = kBoxDepth;
constexpr int kSumRows = 8, kSumDims = 32;  // of a box of sums
constexpr int kSumBoxBytes = kSumRows * kSumDims * 4;
constexpr int kMostSharedBytes = 224 << 10;         // of the 227 KB that a block may have
constexpr int kSharedRows = kDepthOfStage / kPair;  // of a stage's unit rows, that one block of a pair copies for both
constexpr int kSharedBoxBytes = kSharedRows * kBoxRowBytes;

template <int kPlanesOfPanel, int kDimsOfTile> struct ProductTile {
  static constexpr int kPlanes = kPlanesOfPanel, kDims = kDimsOfTile;
  static constexpr bool kTakesOver = kPlanes == 3;  // as in sm80_logits.cuh
  static constexpr int kConsumers = 2, kRows = kConsumers * 64, kThreads = (1 + kConsumers) * kWarpgroup;
  using Sums = WarpgroupSums<1, kDims / 8, ColumnsInOrder>;
  static_assert(!kTakesOver || kDims <= 128, "three sets of accumulators");

  static constexpr int kBoxBytes = kDepthOfStage * kBoxRowBytes, kBoxes = kDims / kBoxDepth;
  static constexpr int kPanelPlaneBytes = kConsumers * kBoxBytes, kUnitPlaneBytes = kBoxes * kBoxBytes;
  static constexpr int kPanelBytes = kPlanes * kPanelPlaneBytes;
  static constexpr int kStageBytes = kPanelBytes + kPlanes * kUnitPlaneBytes;
  // What stages leave is for sums, a box at least for each warp.
  static constexpr int kBoxOfEachWarp = kConsumers * kWarpgroup / 32 * kSumBoxBytes;
  static constexpr int kStages = (kMostSharedBytes - kBoxOfEachWarp) / kStageBytes;
  static constexpr int kPipelineBytes = kStages * kStageBytes;
  static constexpr int kSumBoxes = (kMostSharedBytes - kPipelineBytes) / kBoxOfEachWarp;
  static constexpr int kSharedBytes = kPipelineBytes + kSumBoxes * kBoxOfEachWarp + kBoxAlignment;
};

// A tile of a side's sums over a part of the depth. In steps before first_straight the panel is read transposed: all of
// its columns' side; of a triangle, what is left of the diagonal and stands above it.
struct ProductPart {
  const ProductSide &side;
  int32_t rows;  // of the side; of a pair's second block the tile may be beyond
  int32_t row, dim, split;
  int32_t first_step, first_straight, end_step;
};

// Pairs of tiles, which a pair of blocks takes at a time.
template <class Tile>
__host__ __device__ int32_t pairs_of_tiles(const ProductTask &task, const ProductSide &side, int32_t rows) {
  if (!side.wanted) return 0;
  return task.splits * tiles_of(rows, kPair * Tile::kRows) * tiles_of(task.padded_dim, Tile::kDims);
}
template <class Tile> __host__ __device__ int32_t pairs_of_rows(const ProductTask &task) {
  return pairs_of_tiles<Tile>(task, task.of_rows, task.rows);
}
template <class Tile> __host__ __device__ int32_t pairs_of_columns(const ProductTask &task) {
  return pairs_of_tiles<Tile>(task, task.of_columns, task.columns);
}

// Calls visit(part) for the tiles of this block. Dimensions first: pairs that run at a time share parts of the panel.
template <class Tile, class Visit> INFONCE_DEVICE void for_each_part(const ProductTask &task, int rank, Visit &&visit) {
  const int32_t of_rows = pairs_of_rows<Tile>(task), all = of_rows + pairs_of_columns<Tile>(task);
  const int32_t dim_tiles = tiles_of(task.padded_dim, Tile::kDims);
#pragma unroll 1
  for (int32_t index = blockIdx.x / kPair; index < all; index += gridDim.x / kPair) {
    const bool is_row = index < of_rows;
    const int32_t rows = is_row ? task.rows : task.columns, depth = is_row ? task.columns : task.rows;
    const int32_t tile = is_row ? index : index - of_rows, pairs = tiles_of(rows, kPair * Tile::kRows);
    const int32_t split = tile / dim_tiles / pairs, pair_row = tile / dim_tiles % pairs * kPair * Tile::kRows;
    const int32_t steps = depth / kDepthOfStage;
    const int32_t first_step = int32_t(int64_t(steps) * split / task.splits);
    const int32_t end_step = int32_t(int64_t(steps) * (split + 1) / task.splits);
    const int32_t first_straight = !is_row ? steps : task.triangular ? pair_row / kDepthOfStage : 0;
    visit(ProductPart{is_row ? task.of_rows : task.of_columns, rows, pair_row + rank * Tile::kRows,
                      tile % dim_tiles * Tile::kDims, split, first_step, min(max(first_straight, first_step), end_step),
                      end_step});
  }
}

template <class Tile> struct ProductShared {
  uint64_t full[Tile::kStages], empty[Tile::kStages];
  int32_t cancelled;

  INFONCE_DEVICE void init() {
    constexpr int kReleases = kPair * Tile::kConsumers * kWarpgroup / 32;
    for (int s = 0; s < Tile::kStages; ++s) {
      init_barrier(shared_address(&full[s]), 1);
      init_barrier(shared_address(&empty[s]), kReleases);
    }
    publish_barriers();
  }
};

// The producer's work, by one thread. A stage is filled when both blocks have released theirs: both copy into it.
template <class Tile>
INFONCE_DEVICE void produce(const ProductTask &task, ProductShared<Tile> &shared, uint32_t pipeline, int rank) {
  constexpr uint16_t kBoth = (1 << kPair) - 1;
  prefetch_map(task.panel);
  prefetch_map(task.of_rows.unit_rows);
  prefetch_map(task.of_columns.unit_rows);
  Ring<Tile::kStages> ring;
  for_each_part<Tile>(task, rank, [&](const ProductPart &part) {
    const ProductSide &side = part.side;
    for (int32_t step = part.first_step; step < part.end_step; ++step) {
      const int32_t depth = step * kDepthOfStage, unit_row = side.first_unit_row + depth + rank * kSharedRows;
      const bool is_transposed = step < part.first_straight;
      const uint32_t full = shared_address(&shared.full[ring.stage]), stage = pipeline + ring.stage * Tile::kStageBytes;
      wait(shared_address(&shared.empty[ring.stage]), ring.parity ^ 1);
      arrive_expecting(full, Tile::kStageBytes);
#pragma unroll
      for (int p = 0; p < Tile::kPlanes; ++p) {
        const uint32_t panel = stage + p * Tile::kPanelPlaneBytes;
#pragma unroll
        for (int c = 0; c < Tile::kConsumers; ++c) {
          const int32_t row = part.row + c * 64;
          copy_box(panel + c * Tile::kBoxBytes, task.panel, full, is_transposed ? row : depth,
                   p * task.panel_rows + (is_transposed ? depth : row));
        }
        const uint32_t units = stage + Tile::kPanelBytes + p * Tile::kUnitPlaneBytes + rank * kSharedBoxBytes;
#pragma unroll
        for (int box = 0; box < Tile::kBoxes; ++box)
          copy_box_to(kBoth, units + box * Tile::kBoxBytes, side.unit_rows, full, part.dim + box * kBoxDepth,
                      p * side.all_unit_rows + unit_row);
      }
      ring.advance();
    }
  });
}

// A consumer: the warpgroup with the upper or the lower rows of every tile.
template <class Tile> class ProductConsumer {
 public:
  using Sums = typename Tile::Sums;

  INFONCE_DEVICE ProductConsumer(ProductShared<Tile> &shared, uint32_t pipeline, int index)
      : shared_(shared), pipeline_(pipeline), index_(index) {}

  // sums += the products of so many steps.
  template <bool kTransposed> INFONCE_DEVICE void multiply(Sums &sums, int32_t steps) {
    if (steps == 0) return;
    if constexpr (Tile::kTakesOver) {
      // What one stage sums is added up while the products of the next run.
      Sums even, odd;
      issue<kTransposed>(even, 0);
#pragma unroll 1
      for (; steps > 2; steps -= 2) {
        issue<kTransposed>(odd, 0);
        receive_previous<1>(even);
        sums.add(even);
        issue<kTransposed>(even, 0);
        receive_previous<1>(odd);
        sums.add(odd);
      }
      if (steps == 2) {
        issue<kTransposed>(odd, 0);
        receive_previous<1>(even);
        sums.add(even);
        receive_previous<0>(odd);
        sums.add(odd);
      } else {
        receive_previous<0>(even);
        sums.add(even);
      }
    } else {
      issue<kTransposed>(sums, 1);
#pragma unroll 1
      for (int32_t step = 1; step < steps; ++step) {
        issue<kTransposed>(sums, 1);
        wait_for_products<1>();
        release();
      }
      receive_previous<0>(sums);
    }
  }

 private:
  // Products of planes pa and pb with pa + pb < kPlanes, the smallest first, so that they are added to small sums.
  template <bool kTransposed> INFONCE_DEVICE void issue(Sums &sums, int add) {
    constexpr int kDeeper = kProductDepth * kBoxRowBytes;  // where rows are steps of the depth
    const uint32_t stage = pipeline_ + filled_.stage * Tile::kStageBytes, panel = stage + index_ * Tile::kBoxBytes;
    const Descriptor a = kTransposed ? describe_transposed(panel, Tile::kBoxBytes) : describe_rows(panel);
    const Descriptor b = describe_transposed(stage + Tile::kPanelBytes, Tile::kBoxBytes);
    wait(shared_address(&shared_.full[filled_.stage]), filled_.parity);
    filled_.advance();
    begin_products();
#pragma unroll
    for (int both = Tile::kPlanes - 1; both >= 0; --both)
#pragma unroll
      for (int pa = 0; pa <= both; ++pa)
#pragma unroll
        for (int k = 0; k < kDepthOfStage / kProductDepth; ++k) {
          const bool is_first = both == Tile::kPlanes - 1 && pa == 0 && k == 0;
          infonce::cuda::multiply<kTransposed, true>(
              sums.at[0], a.further(pa * Tile::kPanelPlaneBytes + k * (kTransposed ? kDeeper : kStepBytes)),
              b.further((both - pa) * Tile::kUnitPlaneBytes + k * kDeeper), is_first ? add : 1);
        }
    commit_products();
  }

  template <int kPending> INFONCE_DEVICE void receive_previous(Sums &sums) {
    wait_for_products<kPending>();
    receive(sums);
    release();
  }

  // Tells both blocks.
  INFONCE_DEVICE void release() {
    __syncwarp();
    const int lane = threadIdx.x % 32;
    if (lane < kPair) arrive_in(lane, shared_address(&shared_.empty[released_.stage]));
    released_.advance();
  }

  ProductShared<Tile> &shared_;
  const uint32_t pipeline_;
  const int index_;
  Ring<Tile::kStages> filled_, released_;
};

// Writes a warp's sums, or has memory add them, by boxes in shared memory that are the warp's own: it goes on to the next
// products while the last ones are under way. Of a launch each number of the sums gets one addition, of which there is
// then no order.
template <class Tile> class SumsWriter {
 public:
  using Sums = typename Tile::Sums;

  INFONCE_DEVICE explicit SumsWriter(uint32_t pipeline, int warp)
      : boxes_(pipeline + Tile::kPipelineBytes + warp * Tile::kSumBoxes * kSumBoxBytes) {}

  // row: the warp's first in the tile.
  INFONCE_DEVICE void write(const Sums &sums, const ProductPart &part, int row, int32_t padded_dim) {
    const ProductSide &side = part.side;
    const int lane = threadIdx.x % 32;
    const int first_row = part.split * side.rows_of_split + side.first_row + part.row + row;
#pragma unroll
    for (int h = 0; h < 2; ++h)
#pragma unroll
      for (int n = 0; n < Sums::kColumnFragments; n += kFragments) {
        const int dim = part.dim + n * 8;
        if (dim >= padded_dim) break;
        const uint32_t box = boxes_ + ring_.stage * kSumBoxBytes;
        ring_.advance();
        if (lane == 0) wait_until_read<Tile::kSumBoxes - 1>();
        __syncwarp();
        fill(box, sums, n, h, lane);
        fence_before_copies();
        __syncwarp();
        if (lane > 0) continue;
        if (side.add) add_box(side.sums, box, dim, first_row + h * kSumRows);
        else write_box(side.sums, box, dim, first_row + h * kSumRows);
      }
  }

  // After the last tile.
  INFONCE_DEVICE void end() const {
    if (threadIdx.x % 32 == 0) wait_until_written();
  }

 private:
  static constexpr int kFragments = kSumDims / 8;

  // Eight rows of four fragments as the 128-byte swizzle has them. Of these a lane of an odd row begins with the third:
  // so half a warp writes to all banks.
  static INFONCE_DEVICE void fill(uint32_t box, const Sums &sums, int n, int h, int lane) {
    const int row = lane / 4, chunk = (lane % 4 / 2) ^ row ^ (row % 2 * 4);
    const uint32_t to = box + row * kBoxRowBytes + lane % 2 * 8;
#pragma unroll
    for (int k = 0; k < kFragments; ++k) {
      const float(&even)[4] = sums.at[0][n + k], (&odd)[4] = sums.at[0][n + (k ^ 2)];
      store_shared8(to + ((2 * k) ^ chunk) * 16, row % 2 ? odd[2 * h] : even[2 * h],
                    row % 2 ? odd[2 * h + 1] : even[2 * h + 1]);
    }
  }

  const uint32_t boxes_;
  Ring<Tile::kSumBoxes> ring_;
};

// Grid: pairs of blocks, no more than the device holds at a time.
template <class Tile>
__global__ void INFONCE_CLUSTER_OF(kPair) __launch_bounds__(Tile::kThreads, 1)
    accumulate_panel(Trace trace, const __grid_constant__ ProductTask task) {
#ifdef INFONCE_HAS_SM90
  extern __shared__ __align__(128) unsigned char dynamic[];
  __shared__ ProductShared<Tile> shared;
  const uint32_t pipeline = (shared_address(dynamic) + kBoxAlignment - 1) & ~(kBoxAlignment - 1);
  const int warpgroup = warpgroup_index(), rank = rank_in_cluster();
  const bool cancelled = trace.is_cancelled();
  if (threadIdx.x == 0) {
    shared.cancelled = cancelled;
    shared.init();
  }
  synchronize_cluster();
  // One block of a pair cannot go on without the other, which may have looked later.
  const bool goes_on = !cancelled && !load_in(rank ^ 1, shared_address(&shared.cancelled));
  if (warpgroup == 0) {
    give_registers<56>();  // with fewer it spills
    trace.mark(kIdleThread);
    if (goes_on && threadIdx.x == 0) produce(task, shared, pipeline, rank);
  } else if (goes_on) {
    take_registers<224>();
    ProductConsumer<Tile> consumer(shared, pipeline, warpgroup - 1);
    const int warp = threadIdx.x / 32 - kWarpgroup / 32;
    SumsWriter<Tile> writer(pipeline, warp);
    for_each_part<Tile>(task, rank, [&](const ProductPart &part) {
      typename Tile::Sums sums;
      sums.clear();
      consumer.template multiply<true>(sums, part.first_straight - part.first_step);
      consumer.template multiply<false>(sums, part.end_step - part.first_straight);
      if (part.row < part.rows) writer.write(sums, part, warp * 16, task.padded_dim);
    });
    writer.end();
  }
  synchronize_cluster();  // the other's last releases come here
#endif
}

}  // namespace infonce::cuda::sm90

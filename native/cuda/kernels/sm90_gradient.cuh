// The gradient with everything in registers, on compute capability 9.0. What is computed is that of sm80_gradient.cuh:
// a block owns rows, makes weights of a tile of logits in place, and multiplies them by the very tile of unit rows that
// the logits came from.
//
// The block is a producer, which has the tiles copied into a ring of stages, and two or three warpgroups of 64 rows each
// that consume them. Tensor cores and special functions are busy at once, in two ways. A warpgroup issues the logits of
// the next tile before the product of this one, and makes weights of them while the product runs. And they take turns
// with what they issue: while one waits for logits or makes weights, products of another are queued.
#pragma once

#include "cuda/kernels/sm90_wgmma.cuh"
#include "cuda/kernels/tile_pairs.cuh"
#include "cuda/kernels/trace.cuh"

namespace infonce::cuda::sm90 {

// Sums of 64 numbers a row leave registers for a third, whose block asks a third less of the second-level cache.
constexpr int consumers_for(int bytes_of_row) { return bytes_of_row == 128 ? 3 : 2; }

// The rows of the widest operands leave room for two tiles of 128 columns, both of which are in use: nothing could be
// loaded meanwhile. Four of 80 are two in use and two on their way, and so are four of 96 of three quarters as wide
// ones. Fewer columns would not do: a product of 64 rows by 64 columns reads as much from shared memory as that delivers
// while the product is computed.
constexpr int columns_for(int bytes_of_row) { return bytes_of_row == 512 ? 80 : bytes_of_row == 384 ? 96 : 128; }

template <int kPlanesOfRows, int kDimension, int kConsumersOfBlock = consumers_for(kPlanesOfRows *kDimension * 2),
          int kColumnsOfTile = columns_for(kPlanesOfRows *kDimension * 2)>
struct GradientTile {
  static_assert(kDimension == 64 || kDimension == 128 || kDimension == 192 || kDimension == 256,
                "the padded dimensions it is made for");
  static constexpr int kPlanes = kPlanesOfRows, kDim = kDimension, kBoxes = kDim / kBoxDepth;
  static constexpr int kConsumers = kConsumersOfBlock, kWarpgroups = 1 + kConsumers;
  static constexpr int kThreads = kWarpgroups * kWarpgroup;
  static constexpr int kConsumerRegisters =
      kConsumers == 3 ? kConsumerRegistersOfThree : infonce::cuda::kConsumerRegisters;
  static constexpr int kRowsOfConsumer = 64, kRows = kConsumers * kRowsOfConsumer, kColumns = kColumnsOfTile;
  // Or the last block has consumers behind the padding, who compute with zeros that nobody asks for.
  static constexpr bool kRowsFitPadding = kRowMultiple % kRows == 0;
  static constexpr int kBytesOfRow = kPlanes * kDim * 2;
  static_assert(kBytesOfRow <= 512, "the owner's rows and four stages have to fit into shared memory");
  static constexpr int kStages = kBytesOfRow == 256 ? 5 : 4;

  using Weights = WarpgroupSums<1, kColumns / 8, ColumnsInOrder>;
  using Sums = WarpgroupSums<1, kDim / 8, ColumnsInOrder>;

  // Boxes follow each other, those of a plane side by side.
  static constexpr int kOwnerBox = kRows * kBoxRowBytes, kOwnerBytes = kPlanes * kBoxes * kOwnerBox;
  static constexpr int kOtherBox = kColumns * kBoxRowBytes, kOtherBytes = kPlanes * kBoxes * kOtherBox;
  struct Shared {
    unsigned char owner[kOwnerBytes];
    unsigned char other[kStages][kOtherBytes];
    struct alignas(128) {
      float of_column[kColumns];
    } other_weight[kStages];
    uint64_t owner_full, full[kStages], empty[kStages];

    INFONCE_DEVICE void init_barriers() {
      init_barrier(shared_address(&owner_full), 1);
#pragma unroll
      for (int stage = 0; stage < kStages; ++stage) {
        init_barrier(shared_address(&full[stage]), 1);
        init_barrier(shared_address(&empty[stage]), kConsumers * kWarpgroup / 32);  // a lane of each warp
      }
      publish_barriers();
    }
  };
};

struct GradientMaps {
  CUtensorMap owner, other, other_weight;  // in boxes of kRows and kColumns
};

template <class Tile>
INFONCE_DEVICE void copy_planes(uint32_t to, const CUtensorMap &map, uint32_t barrier, int first_row, int box_bytes) {
#pragma unroll
  for (int p = 0; p < Tile::kPlanes; ++p)
#pragma unroll
    for (int box = 0; box < Tile::kBoxes; ++box)
      copy_box(to + (p * Tile::kBoxes + box) * box_bytes, map, barrier, box * kBoxDepth, first_row, p);
}

template <class Tile> INFONCE_DEVICE void copy_owner(typename Tile::Shared &shared, const GradientMaps &maps, int row) {
  const uint32_t full = shared_address(&shared.owner_full);
  arrive_expecting(full, Tile::kOwnerBytes);
  copy_planes<Tile>(shared_address(shared.owner), maps.owner, full, row, Tile::kOwnerBox);
}

template <class Tile>
INFONCE_DEVICE void copy_tile(typename Tile::Shared &shared, const GradientMaps &maps, int tile, int stage) {
  const uint32_t full = shared_address(&shared.full[stage]);
  arrive_expecting(full, Tile::kOtherBytes + Tile::kColumns * sizeof(float));
  copy_planes<Tile>(shared_address(shared.other[stage]), maps.other, full, tile * Tile::kColumns, Tile::kOtherBox);
  copy_box(shared_address(&shared.other_weight[stage]), maps.other_weight, full, tile * Tile::kColumns);
}

// Has the owner's rows copied, then tile after tile into the stages that are empty.
template <class Tile>
INFONCE_DEVICE void produce(typename Tile::Shared &shared, const GradientMaps &maps, int row, int first_tile,
                            int end_tile) {
  copy_owner<Tile>(shared, maps, row);
  Ring<Tile::kStages> ring;
#pragma unroll 1
  for (int tile = first_tile; tile < end_tile; ++tile, ring.advance()) {
    wait(shared_address(&shared.empty[ring.stage]), ring.parity ^ 1);
    copy_tile<Tile>(shared, maps, tile, ring.stage);
  }
}

// Calls visit(plane of a, plane of b) for the products of two operands, the smallest first.
template <int kPlanes, class Visit> INFONCE_DEVICE void for_each_product(Visit &&visit) {
#pragma unroll
  for (int pb = kPlanes - 1; pb >= 0; --pb)
#pragma unroll
    for (int pa = kPlanes - 1 - pb; pa >= 0; --pa) visit(pa, pb);
}

// Whether a consumer's rows, of which this is the first, are there.
template <class Tile> INFONCE_DEVICE bool is_owned(const WeightsOf &of, int32_t row) {
  return Tile::kRowsFitPadding || row < of.owner.rows;
}

// What a consumer makes of a tile's dot products: weights of them.
template <class Tile> class TileWeighing {
 public:
  using Task = WeightsOf;
  using Weights = typename Tile::Weights;
  static constexpr bool kReadsOtherWeight = true;
  static constexpr bool kHasIds = Tile::kDim <= kMostDimOfIds;

  // row: the consumer's first.
  INFONCE_DEVICE TileWeighing(const WeightsOf &of, int32_t row) : of_(of), row_(row) {
    const int64_t row_end = min(int64_t(row + Tile::kRowsOfConsumer), of.owner.rows);
    pairs_ = Band::of(of.pairs.apart, row, row_end).with(Band::of(of.pairs.classes, row, row_end));
#pragma unroll
    for (int h = 0; h < 2; ++h)
      row_weight_[h] =
          is_owned<Tile>(of, row) ? of.owner_weight[row + Weights::row(threadIdx.x % kWarpgroup, 0, 2 * h)] : 0;
  }

  INFONCE_DEVICE void weigh(Weights &weights, int column, const float *other_weight) const {
#pragma unroll
    for (int n = 0; n < Weights::kColumnFragments; ++n) {
      const float2 column_weight =
          *reinterpret_cast<const float2 *>(&other_weight[Weights::column(threadIdx.x % kWarpgroup, n, 0)]);
#pragma unroll
      for (int q = 0; q < 4; ++q) {
        float &dot = weights.at[0][n][q];
        dot = power_of_two(dot * of_.exponent) * (row_weight_[q >> 1] + (q & 1 ? column_weight.y : column_weight.x));
      }
    }
    // Padding needs no mask: its unit rows are zeros.
    if ((kHasIds && of_.pairs.row_ids) || pairs_.touches(column, column + Tile::kColumns))
      take_pairs_off<kHasIds>(weights, of_, row_, column);
  }

 private:
  const WeightsOf &of_;
  const int32_t row_;
  Band pairs_;
  float row_weight_[2];
};

// A consumer: a warpgroup with 64 of the block's rows.
template <class Tile, class Weighing = TileWeighing<Tile>> class GradientConsumer {
 public:
  using Task = typename Weighing::Task;

  // row: its first.
  INFONCE_DEVICE GradientConsumer(typename Tile::Shared &shared, const Task &task, int index, int32_t row)
      : shared_(shared), index_(index), row_(row), weighing_(task, row) {
    sums_.clear();
  }

  // Issues the logits of a tile together with the product of the one before it. None of it is conditional: the
  // compiler has to follow what is in flight.
  INFONCE_DEVICE void add(int first_tile, int end_tile) {
    wait(shared_address(&shared_.owner_full), 0);
    wait_until_full();
    begin_products();
    multiply_rows();
    wait_for_products<0>();
    receive(weights_);
    make_weights(first_tile);
    split_weights();

    if (is_last()) pass_turn();
#pragma unroll 1
    for (int tile = first_tile + 1; tile < end_tile; ++tile) {
      const int previous = ring_.stage;
      ring_.advance();
      wait_until_full();
      take_turn();
      begin_products();
      multiply_rows();
      multiply_weights(previous);
      pass_turn();
      wait_for_products<1>();
      receive(weights_);
      make_weights(tile);
      wait_for_products<0>();
      receive(sums_);
      keep_operands();
      release(previous);
      split_weights();
    }
    if (index_ == 0) take_turn();
    begin_products();
    multiply_weights(ring_.stage);
    wait_for_products<0>();
    receive(sums_);
    keep_operands();
  }

  INFONCE_DEVICE const Weighing &weighing() const { return weighing_; }

  INFONCE_DEVICE void write(const WeightsOf &of, float *accumulators) const {
    if (!is_owned<Tile>(of, row_)) return;
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      float *to = accumulators + int64_t(row_ + Sums::row(thread(), 0, 2 * h)) * Tile::kDim;
#pragma unroll
      for (int n = 0; n < Sums::kColumnFragments; ++n)
        *reinterpret_cast<float2 *>(to + Sums::column(thread(), n, 0)) =
            make_float2(sums_.at[0][n][2 * h], sums_.at[0][n][2 * h + 1]);
    }
  }

 protected:  // bench/ladder has these parts in other orders
  using Weights = typename Tile::Weights;
  using Sums = typename Tile::Sums;

  static INFONCE_DEVICE int thread() { return threadIdx.x % kWarpgroup; }
  INFONCE_DEVICE uint32_t other(int stage) const { return shared_address(shared_.other) + stage * Tile::kOtherBytes; }

  INFONCE_DEVICE void wait_until_full() const { wait(shared_address(&shared_.full[ring_.stage]), ring_.parity); }
  INFONCE_DEVICE void release(int stage) const {
    if constexpr (Weighing::kReadsOtherWeight) fence_before_copies();
    __syncwarp();
    if (thread() % 32 == 0) arrive(shared_address(&shared_.empty[stage]));
  }

  // Whose turn it is issues products; barrier 0 is that of the block. The first turn is given by the last consumer, and
  // the last is given back to the first.
  INFONCE_DEVICE void take_turn() const { synchronize(1 + index_, 2 * kWarpgroup); }
  INFONCE_DEVICE void pass_turn() const { arrive_for(1 + (is_last() ? 0 : index_ + 1), 2 * kWarpgroup); }
  INFONCE_DEVICE bool is_last() const { return index_ == Tile::kConsumers - 1; }

  // Issues weights = the dot products of the consumer's rows with those of this stage.
  INFONCE_DEVICE void multiply_rows() {
    const Descriptor rows =
        describe_rows(shared_address(shared_.owner) + index_ * Tile::kRowsOfConsumer * kBoxRowBytes);
    const Descriptor columns = describe_rows(other(ring_.stage));
    int add = 0;
    for_each_product<Tile::kPlanes>([&](int pa, int pb) {
#pragma unroll
      for (int k = 0; k < Tile::kDim / kProductDepth; ++k, add = 1) {
        const int box = k / 4, step = k % 4 * kStepBytes;
        multiply<false, false>(weights_.at[0], rows.further((pa * Tile::kBoxes + box) * Tile::kOwnerBox + step),
                               columns.further((pb * Tile::kBoxes + box) * Tile::kOtherBox + step), add);
      }
    });
    commit_products();
  }

  // Issues sums += weights x the unit rows of a stage.
  INFONCE_DEVICE void multiply_weights(int stage) {
    constexpr int kDeeper = kProductDepth * kBoxRowBytes;  // where rows are steps of the depth
    const Descriptor unit_rows = describe_transposed(other(stage), Tile::kOtherBox);
    for_each_product<Tile::kPlanes>([&](int pa, int pb) {
#pragma unroll
      for (int k = 0; k < kSteps; ++k)
        multiply<true>(sums_.at[0], operand_[pa][k],
                       unit_rows.further(pb * Tile::kBoxes * Tile::kOtherBox + k * kDeeper), 1);
    });
    commit_products();
  }

  // Of the dot products with a tile.
  INFONCE_DEVICE void make_weights(int tile) {
    weighing_.weigh(weights_, tile * Tile::kColumns, shared_.other_weight[ring_.stage].of_column);
  }

  // The sums of a product lie in registers just as the left operand of another must.
  INFONCE_DEVICE void split_weights() {
#pragma unroll
    for (int k = 0; k < kSteps; ++k)
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        const float(&of_row)[4] = weights_.at[0][2 * k + (r >> 1)];
        uint32_t planes[Tile::kPlanes];
        split<Tile::kPlanes>(of_row[(r & 1) * 2], of_row[(r & 1) * 2 + 1], planes);
#pragma unroll
        for (int p = 0; p < Tile::kPlanes; ++p) operand_[p][k][r] = planes[p];
      }
  }

  INFONCE_DEVICE void keep_operands() {
#pragma unroll
    for (int p = 0; p < Tile::kPlanes; ++p) keep_until_here(operand_[p]);
  }

  static constexpr int kSteps = Tile::kColumns / kProductDepth;

  typename Tile::Shared &shared_;
  const int index_;
  const int32_t row_;
  Weighing weighing_;
  Ring<Tile::kStages> ring_;
  Weights weights_;
  uint32_t operand_[Tile::kPlanes][kSteps][4];  // weights as the left operand of the second product
  Sums sums_;
};

// A block's work: `write(consumer, row)` when a consumer has its sums.
template <class Tile, class Consumer, class Write>
INFONCE_DEVICE void run_gradient(const Trace &trace, const typename Consumer::Task &task, const WeightsOf &of,
                                 const GradientMaps &maps, Write &&write) {
  extern __shared__ __align__(kBoxAlignment) unsigned char memory[];
  auto &shared = *reinterpret_cast<typename Tile::Shared *>(memory);
  const int tiles = tiles_of(of.other.rows, Tile::kColumns);
  const int first_tile = static_cast<int>(int64_t(tiles) * blockIdx.y / gridDim.y);
  const int end_tile = static_cast<int>(int64_t(tiles) * (blockIdx.y + 1) / gridDim.y);
  const int row = blockIdx.x * Tile::kRows;
  if (threadIdx.x == 0) {
    prefetch_map(maps.owner);
    prefetch_map(maps.other);
    prefetch_map(maps.other_weight);
    shared.init_barriers();
  }
  __syncthreads();

  const int warpgroup = warpgroup_index();
  if (warpgroup == 0) {
    give_registers<kProducerRegisters>();
    trace.mark(kIdleThread);
    if (threadIdx.x == 0) produce<Tile>(shared, maps, row, first_tile, end_tile);
  } else {
    take_registers<Tile::kConsumerRegisters>();
    const int index = warpgroup - 1, first_row = row + index * Tile::kRowsOfConsumer;
    Consumer consumer(shared, task, index, first_row);
    consumer.add(first_tile, end_tile);
    write(consumer, first_row);
  }
}

// Grid: x blocks of the owner's rows, y splits of the columns, each of which has a tile.
template <class Tile>
__global__ void __launch_bounds__(Tile::kThreads, 1)
    gradient(Trace trace, const __grid_constant__ GradientTask task, const __grid_constant__ GradientMaps maps) {
#ifdef INFONCE_HAS_SM90
  if (trace.is_cancelled()) return;
  run_gradient<Tile, GradientConsumer<Tile>>(
      trace, task.weights, task.weights, maps, [&](const auto &consumer, int32_t) {
        consumer.write(task.weights, task.accumulators + int64_t(blockIdx.y) * task.weights.owner.plane_size());
      });
#endif
}

}  // namespace infonce::cuda::sm90

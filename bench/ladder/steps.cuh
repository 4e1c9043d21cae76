// The gradient of sm90_gradient.cuh in the steps that lead to it from the portable kernel, each with one idea more. All
// add the same products in the same order: they differ in what waits for what.
#pragma once

#include "cuda/kernels/sm90_gradient.cuh"

namespace infonce::cuda::ladder {

using sm90::GradientConsumer;
using sm90::GradientMaps;

// Warpgroup products, tiles that a producer brings. The tensor cores of a warpgroup wait for its weights, and these for
// the logits; only the other warpgroup may happen to have work meanwhile.
template <class Tile> class InTurn : public GradientConsumer<Tile> {
 public:
  using GradientConsumer<Tile>::GradientConsumer;

  INFONCE_DEVICE void add(int first_tile, int end_tile) {
    wait(shared_address(&this->shared_.owner_full), 0);
#pragma unroll 1
    for (int tile = first_tile; tile < end_tile; ++tile, this->ring_.advance()) {
      add_tile(tile);
      this->release(this->ring_.stage);
    }
  }

 protected:
  INFONCE_DEVICE void add_tile(int tile) {
    this->wait_until_full();
    begin_products();
    this->multiply_rows();
    wait_for_products<0>();
    receive(this->weights_);
    this->make_weights(tile);
    this->split_weights();
    begin_products();
    this->multiply_weights(this->ring_.stage);
    wait_for_products<0>();
    receive(this->sums_);
    this->keep_operands();
  }
};

// The same without a producer: a consumer's thread has the next tile copied, once all are done with the tile before
// this one.
template <class Tile> class OneRole : public InTurn<Tile> {
 public:
  using InTurn<Tile>::InTurn;

  INFONCE_DEVICE void add(const GradientMaps &maps, int row, int first_tile, int end_tile) {
    if (threadIdx.x == 0) {
      sm90::copy_owner<Tile>(this->shared_, maps, row);
      sm90::copy_tile<Tile>(this->shared_, maps, first_tile, 0);
    }
    wait(shared_address(&this->shared_.owner_full), 0);
#pragma unroll 1
    for (int tile = first_tile; tile < end_tile; ++tile, this->ring_.advance()) {
      __syncthreads();
      Ring<Tile::kStages> next = this->ring_;
      next.advance();
      if (threadIdx.x == 0 && tile + 1 < end_tile) sm90::copy_tile<Tile>(this->shared_, maps, tile + 1, next.stage);
      this->add_tile(tile);
    }
  }
};

// A producer, and a warpgroup issues the logits of the next tile before the product of this one, to make weights of
// them while the product runs. The library's kernel except for the turns that its two warpgroups take.
template <class Tile> class Overlapped : public GradientConsumer<Tile> {
 public:
  using GradientConsumer<Tile>::GradientConsumer;

  INFONCE_DEVICE void add(int first_tile, int end_tile) {
    wait(shared_address(&this->shared_.owner_full), 0);
    this->wait_until_full();
    begin_products();
    this->multiply_rows();
    wait_for_products<0>();
    receive(this->weights_);
    this->make_weights(first_tile);
    this->split_weights();
#pragma unroll 1
    for (int tile = first_tile + 1; tile < end_tile; ++tile) {
      const int previous = this->ring_.stage;
      this->ring_.advance();
      this->wait_until_full();
      begin_products();
      this->multiply_rows();
      this->multiply_weights(previous);
      wait_for_products<1>();
      receive(this->weights_);
      this->make_weights(tile);
      wait_for_products<0>();
      receive(this->sums_);
      this->keep_operands();
      this->release(previous);
      this->split_weights();
    }
    begin_products();
    this->multiply_weights(this->ring_.stage);
    wait_for_products<0>();
    receive(this->sums_);
  }
};

template <class Tile>
__global__ void __launch_bounds__(Tile::kConsumers *kWarpgroup, 1)
    in_one_role(Trace trace, const __grid_constant__ GradientTask task, const __grid_constant__ GradientMaps maps) {
#ifdef INFONCE_HAS_SM90
  trace.mark();
  extern __shared__ __align__(kBoxAlignment) unsigned char memory[];
  auto &shared = *reinterpret_cast<typename Tile::Shared *>(memory);
  const int64_t tiles = tiles_of(task.weights.other.rows, Tile::kColumns);
  const int first_tile = static_cast<int>(tiles * blockIdx.y / gridDim.y);
  const int end_tile = static_cast<int>(tiles * (blockIdx.y + 1) / gridDim.y);
  const int row = blockIdx.x * Tile::kRows, index = warpgroup_index();
  if (threadIdx.x == 0) shared.init_barriers();
  __syncthreads();
  OneRole<Tile> consumer(shared, task.weights, index, row + index * Tile::kRowsOfConsumer);
  consumer.add(maps, row, first_tile, end_tile);
  consumer.write(task.weights, task.accumulators + int64_t(blockIdx.y) * task.weights.owner.plane_size());
#endif
}

template <class Tile, template <class> class Consumer>
__global__ void __launch_bounds__(Tile::kThreads, 1)
    with_producer(Trace trace, const __grid_constant__ GradientTask task, const __grid_constant__ GradientMaps maps) {
#ifdef INFONCE_HAS_SM90
  sm90::run_gradient<Tile, Consumer<Tile>>(trace, task.weights, task.weights, maps, [&](const auto &consumer, int32_t) {
    consumer.write(task.weights, task.accumulators + int64_t(blockIdx.y) * task.weights.owner.plane_size());
  });
#endif
}

}  // namespace infonce::cuda::ladder

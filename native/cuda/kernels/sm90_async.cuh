// The instructions of compute capability 9.0 with which warpgroups of different roles work together: copies by the
// tensor memory accelerator, the barriers in shared memory that they arrive at, registers that change hands.
#pragma once

#include <cuda.h>

#include "cuda/kernels/sm80_mma.cuh"

// Kernels for this architecture are empty in code for any other.
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#define INFONCE_HAS_SM90
#define INFONCE_CLUSTER_OF(blocks) __cluster_dims__(blocks, 1, 1)
#else
#define INFONCE_CLUSTER_OF(blocks)
#endif

namespace infonce::cuda {

constexpr int kWarpgroup = 128;

// --- Barriers in shared memory. A phase ends when all have arrived and all expected bytes are there. ---

INFONCE_DEVICE void init_barrier(uint32_t barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}

// Shows barriers that were made to the threads of the block, after it has synchronised, and to asynchronous copies.
INFONCE_DEVICE void publish_barriers() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

INFONCE_DEVICE void arrive(uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

INFONCE_DEVICE void arrive_expecting(uint32_t barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}

// Until the phase of this parity has ended. A barrier that is new counts as if a phase of parity 1 had.
#ifdef INFONCE_MOST_POLLS
// For verification: a barrier that nobody completes ends the kernel with a fault rather than never.
INFONCE_DEVICE void wait(uint32_t barrier, uint32_t parity) {
  for (uint32_t polls = 0;; ++polls) {
    uint32_t ended;
    asm volatile(
        "{\n"
        ".reg .pred ended;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 ended, [%1], %2;\n"
        "selp.u32 %0, 1, 0, ended;\n"
        "}"
        : "=r"(ended)
        : "r"(barrier), "r"(parity)
        : "memory");
    if (ended) return;
    if (polls == INFONCE_MOST_POLLS) __trap();
  }
}
#else
INFONCE_DEVICE void wait(uint32_t barrier, uint32_t parity) {
  asm volatile(
      "{\n"
      ".reg .pred ended;\n"
      "AGAIN:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 ended, [%0], %1;\n"
      "@ended bra DONE;\n"
      "bra AGAIN;\n"
      "DONE:\n"
      "}" ::"r"(barrier),
      "r"(parity)
      : "memory");
}
#endif

// Between ordinary reads of shared memory and an arrival after which a copy may overwrite it, and between ordinary writes
// and a copy that reads them.
INFONCE_DEVICE void fence_before_copies() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// A place in a ring of stages, and the parity of its full barrier's phase.
template <int kStages> struct Ring {
  int stage = 0;
  uint32_t parity = 0;

  INFONCE_DEVICE void advance() {
    if (++stage == kStages) stage = 0, parity ^= 1;
  }
};

// --- Copies of boxes of a tensor into shared memory; they count bytes at a barrier. What is outside the tensor becomes
// zeros. ---

INFONCE_DEVICE void copy_box(uint32_t to, const CUtensorMap &map, uint32_t barrier, int x) {
  asm volatile(
      "cp.async.bulk.tensor.1d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3}], [%2];" ::"r"(to),
      "l"(&map), "r"(barrier), "r"(x)
      : "memory");
}

INFONCE_DEVICE void copy_box(uint32_t to, const CUtensorMap &map, uint32_t barrier, int x, int y) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::"r"(
          to),
      "l"(&map), "r"(barrier), "r"(x), "r"(y)
      : "memory");
}

INFONCE_DEVICE void copy_box(uint32_t to, const CUtensorMap &map, uint32_t barrier, int x, int y, int z) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], [%2];" ::
          "r"(to),
      "l"(&map), "r"(barrier), "r"(x), "r"(y), "r"(z)
      : "memory");
}

INFONCE_DEVICE void copy_box(uint32_t to, const CUtensorMap &map, uint32_t barrier, int x, int y, int z, int v, int w) {
  asm volatile(
      "cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6, %7}], "
      "[%2];" ::"r"(to),
      "l"(&map), "r"(barrier), "r"(x), "r"(y), "r"(z), "r"(v), "r"(w)
      : "memory");
}

// Into the shared memory of every block of the cluster whose bit is set, counting at the barrier of each.
INFONCE_DEVICE void copy_box_to(uint16_t blocks, uint32_t to, const CUtensorMap &map, uint32_t barrier, int x, int y) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], "
      "[%1, {%4, %5}], [%2], %3;" ::"r"(to),
      "l"(&map), "r"(barrier), "h"(blocks), "r"(x), "r"(y)
      : "memory");
}

// --- Copies of boxes of a tensor from shared memory: they are written, or added in the second-level cache, in
// no order. Elements outside the tensor are left out. Each is a group, of the thread that asks for it. ---

INFONCE_DEVICE void write_box(const CUtensorMap &map, uint32_t from, int x, int y) {
  asm volatile(
      "cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%2, %3}], [%1];\n"
      "cp.async.bulk.commit_group;" ::"l"(&map),
      "r"(from), "r"(x), "r"(y)
      : "memory");
}

INFONCE_DEVICE void add_box(const CUtensorMap &map, uint32_t from, int x, int y) {
  asm volatile(
      "cp.reduce.async.bulk.tensor.2d.global.shared::cta.add.bulk_group [%0, {%2, %3}], [%1];\n"
      "cp.async.bulk.commit_group;" ::"l"(&map),
      "r"(from), "r"(x), "r"(y)
      : "memory");
}

// Until all but kPending of the thread's groups have been read from shared memory, which may be overwritten then.
template <int kPending> INFONCE_DEVICE void wait_until_read() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(kPending) : "memory");
}

// Until all of the thread's groups are in memory.
INFONCE_DEVICE void wait_until_written() { asm volatile("cp.async.bulk.wait_group 0;" ::: "memory"); }

INFONCE_DEVICE void prefetch_map(const CUtensorMap &map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}

// --- Clusters: blocks that run at the same time and reach each other's shared memory, while none has exited. ---

INFONCE_DEVICE int rank_in_cluster() {
  int rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}

INFONCE_DEVICE void synchronize_cluster() {
  asm volatile("barrier.cluster.arrive;\nbarrier.cluster.wait;" ::: "memory");
}

// Where the block of that rank has what this one has at an address of its shared memory.
INFONCE_DEVICE uint32_t address_in(int rank, uint32_t shared) {
  uint32_t address;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(address) : "r"(shared), "r"(rank));
  return address;
}

INFONCE_DEVICE int32_t load_in(int rank, uint32_t shared) {
  int32_t value;
  asm volatile("ld.shared::cluster.b32 %0, [%1];" : "=r"(value) : "r"(address_in(rank, shared)) : "memory");
  return value;
}

// Whether a block goes on, if it is not that its call was cancelled: it cannot without the other of its pair, which may
// have asked later. Shows to all threads of them what thread 0 has written to shared memory, barriers too. `cancelled`
// is there as well. They part by part_blocks.
template <int kBlocks> INFONCE_DEVICE bool all_go_on(bool is_cancelled, int32_t &cancelled) {
  static_assert(kBlocks <= 2, "one other");
  if constexpr (kBlocks == 1) {
    __syncthreads();
    return !is_cancelled;
  } else {
    if (threadIdx.x == 0) cancelled = is_cancelled;
    synchronize_cluster();
    return !is_cancelled && !load_in(rank_in_cluster() ^ 1, shared_address(&cancelled));
  }
}

// Before a block ends: copies of the other, and what it releases last, come here.
template <int kBlocks> INFONCE_DEVICE void part_blocks() {
  if constexpr (kBlocks > 1) synchronize_cluster();
}

// Tells the block of that rank that what was read here may be overwritten. Nothing is published, so the arrival needs no
// order for the cluster, which would be a barrier for the memory of the whole GPU.
INFONCE_DEVICE void arrive_in(int rank, uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared::cluster.b64 _, [%0];" ::"r"(address_in(rank, barrier)) : "memory");
}

// --- Roles ---

// The index of the warpgroup, in a register that the compiler knows to be the same for a warp.
INFONCE_DEVICE int warpgroup_index() { return __shfl_sync(0xffffffffu, int(threadIdx.x) / kWarpgroup, 0); }

// Of a thread, for a producer and two consumers: 128 * 24 + 256 * 240 of 65,536. Three consumers have 160 each.
constexpr int kProducerRegisters = 24, kConsumerRegisters = 240, kConsumerRegistersOfThree = 160;

// Of the producer's warpgroup, one that does nothing else.
constexpr unsigned kIdleThread = kWarpgroup - 32;

// Gives registers back, or takes what others gave; by all warps of a warpgroup.
template <int kRegisters> INFONCE_DEVICE void give_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters> INFONCE_DEVICE void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

// Barriers of the block by number; 0 is that of __syncthreads.
INFONCE_DEVICE void synchronize(int barrier, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}
INFONCE_DEVICE void arrive_for(int barrier, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}

}  // namespace infonce::cuda

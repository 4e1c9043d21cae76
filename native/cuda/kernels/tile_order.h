// The order in which blocks that stay take the tiles of a matrix: strip of rows by strip, from left to right. The order
// is cut into runs of equal length, and block b takes runs b, b + blocks, ..., so that all have as much to do, also of
// a triangle. What a run has of one strip is a segment. Where blocks are clusters, read clusters for blocks: of as many
// neighbouring tiles, which count as one, each block has its own.
#pragma once

#include <cstdint>

namespace infonce::cuda {

struct TileOrder {
  int32_t strips, tiles;  // tiles of the first strip
  int32_t step;           // by which a strip begins further right than the one above it: 0 unless triangular
  int32_t tiles_of_run;
  int32_t strips_of_step = 1;  // that begin at the same tile
  int32_t blocks = 1;          // of a cluster

  __host__ __device__ int32_t shift_of(int32_t strip) const { return strip / strips_of_step * step; }
  __host__ __device__ int64_t tiles_before(int64_t strip) const {
    const int64_t steps = strip / strips_of_step, left = strip % strips_of_step;
    return strip * tiles - step * (strips_of_step * (steps * (steps - 1) / 2) + steps * left);
  }
  __host__ __device__ int64_t all() const { return tiles_before(strips); }
  __host__ __device__ int32_t runs() const { return int32_t((all() + tiles_of_run - 1) / tiles_of_run); }
  // Runs that have tiles of a strip are neighbours.
  __host__ __device__ int32_t first_run(int32_t strip) const { return int32_t(tiles_before(strip) / tiles_of_run); }
  __host__ __device__ int32_t runs_of(int32_t strip) const {
    return int32_t((tiles_before(strip + 1) - 1) / tiles_of_run) - first_run(strip) + 1;
  }
  // What they leave for a row of the strip, a sum by run and block; and the most of any strip.
  __host__ __device__ int32_t sums_of(int32_t strip) const { return runs_of(strip) * blocks; }
  __host__ __device__ int32_t most_sums() const { return ((tiles + tiles_of_run - 2) / tiles_of_run + 1) * blocks; }
  __host__ __device__ int32_t strip_of(int64_t tile) const {
    int32_t first = 0, end = strips;
    while (end - first > 1) {
      const int32_t middle = first + (end - first) / 2;
      (tiles_before(middle) <= tile ? first : end) = middle;
    }
    return first;
  }
};

struct Segment {
  int32_t strip;
  int32_t run;                   // among those of the strip
  int32_t first_tile, end_tile;  // columns of tiles, from that where the first strip begins
};

#ifdef __CUDACC__
// Calls visit(segment) for those of this block, or of its cluster of kBlocks.
template <int kBlocks, class Visit>
__device__ __forceinline__ void for_each_segment(const TileOrder &order, Visit &&visit) {
  const int64_t all = order.all();
  for (int32_t run = blockIdx.x / kBlocks; run < order.runs(); run += gridDim.x / kBlocks) {
    const int64_t end = min((run + int64_t(1)) * order.tiles_of_run, all);
    int64_t tile = int64_t(run) * order.tiles_of_run;
    for (int32_t strip = order.strip_of(tile); tile < end; ++strip) {
      const int64_t before = order.tiles_before(strip), end_of_strip = min(end, order.tiles_before(strip + 1));
      const int32_t shift = order.shift_of(strip);
      visit(Segment{strip, run - order.first_run(strip), int32_t(tile - before) + shift,
                    int32_t(end_of_strip - before) + shift});
      tile = end_of_strip;
    }
  }
}
#endif

}  // namespace infonce::cuda

#include "cuda/kernels/sm90_statistics.cuh"

#include <algorithm>

#include "cuda/launch/sm90.h"
#include "cuda/tensor_maps.h"

namespace infonce::cuda::sm90 {
namespace {

template <int kPlanes, TileShape kShape> void launch(Stream &stream, bool online, const StatisticsTask &task) {
  using Tile = LogitsTile<kPlanes, kShape>;
  constexpr size_t kSharedBytes = Tile::kPipelineBytes + sizeof(StatisticsShared<Tile>);
  static_assert(kSharedBytes <= kSharedBytesOfBlock, "it fits compute capability 9.0");
  const int blocks = Tile::kBlocks * std::clamp(stream.multiprocessors() / Tile::kBlocks, 1, task.order.runs());
  stream.launch(online ? "statistics (sm90, online)" : "statistics (sm90)",
                online ? statistics<Tile, true> : statistics<Tile, false>, dim3(unsigned(blocks)), Tile::kThreads,
                kSharedBytes, task, map_of_rows(task.rows, Planes(kPlanes), Tile::kRowsOfCopy),
                map_of_columns(task.columns, Planes(kPlanes), Tile::kColumns));
}

}  // namespace

void statistics(Stream &stream, Planes planes, TileShape shape, bool online, const StatisticsTask &task) {
  switch (planes) {
    case Planes::kMedium:
      if (shape == TileShape::kKeptWarpgroups) return launch<1, TileShape::kKeptWarpgroups>(stream, online, task);
      return launch<1, TileShape::kWarpgroups>(stream, online, task);
    case Planes::kHigh:
      return launch<2, TileShape::kWarpgroups>(stream, online, task);
    case Planes::kHighest:
      return launch<3, TileShape::kSmallWarpgroups>(stream, online, task);
  }
}

}  // namespace infonce::cuda::sm90

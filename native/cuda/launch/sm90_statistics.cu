#include "cuda/kernels/sm90_statistics.cuh"

#include <algorithm>

#include "cuda/launch/sm90.h"
#include "cuda/tensor_maps.h"

namespace infonce::cuda::sm90 {
namespace {

template <int kPlanes, TileShape kShape> void launch(Stream &stream, Terms terms, const StatisticsTask &task) {
  using Tile = LogitsTile<kPlanes, kShape>;
  constexpr size_t kSharedBytes = Tile::kPipelineBytes + sizeof(StatisticsShared<Tile>);
  static_assert(kSharedBytes <= kSharedBytesOfBlock, "it fits compute capability 9.0");
  const int blocks = Tile::kBlocks * std::clamp(stream.multiprocessors() / Tile::kBlocks, 1, task.order.runs());
  const bool online = terms == Terms::kOnline, sigmoids = terms == Terms::kSigmoids;
  stream.launch(online     ? "statistics (sm90, online)"
                : sigmoids ? "statistics (sm90, sigmoids)"
                           : "statistics (sm90)",
                online     ? statistics<Tile, Terms::kOnline>
                : sigmoids ? statistics<Tile, Terms::kSigmoids>
                           : statistics<Tile, Terms::kExponentials>,
                dim3(unsigned(blocks)), Tile::kThreads, kSharedBytes, task,
                map_of_rows(task.rows, Planes(kPlanes), Tile::kRowsOfCopy),
                map_of_columns(task.columns, Planes(kPlanes), Tile::kColumns));
}

}  // namespace

void statistics(Stream &stream, Planes planes, TileShape shape, Terms terms, const StatisticsTask &task) {
  switch (planes) {
    case Planes::kMedium:
      if (shape == TileShape::kKeptWarpgroups) return launch<1, TileShape::kKeptWarpgroups>(stream, terms, task);
      return launch<1, TileShape::kWarpgroups>(stream, terms, task);
    case Planes::kHigh:
      return launch<2, TileShape::kWarpgroups>(stream, terms, task);
    case Planes::kHighest:
      return launch<3, TileShape::kSmallWarpgroups>(stream, terms, task);
  }
}

}  // namespace infonce::cuda::sm90

#include "cuda/kernels/statistics.cuh"

#include <algorithm>

#include "cuda/kernels/sm80_statistics.cuh"
#include "cuda/launch/sm80.h"

namespace infonce::cuda {
namespace {

constexpr const char *name_of(Terms terms) {
  return terms == Terms::kOnline     ? "statistics (online)"
         : terms == Terms::kSigmoids ? "statistics (sigmoids)"
                                     : "statistics";
}

template <int kPlanes, TileShape kShape, Terms kTerms>
void launch(Stream &stream, const StatisticsTask &task, int runs, int tile_rows) {
  using Tile = LogitsTile<kPlanes, kShape>;
  constexpr size_t kSharedBytes = Tile::kPipelineBytes + sizeof(StatisticsShared<Tile>);
  static_assert(kShape != TileShape::kTall || kSharedBytes <= kTallSharedBytes,
                "the shape is not taken where it does not fit");
  stream.launch(name_of(kTerms), statistics<Tile, kTerms>, dim3(unsigned(runs), unsigned(tile_rows)), Tile::kThreads,
                kSharedBytes, task);
}

template <int kPlanes>
void launch(Stream &stream, TileShape shape, Terms terms, const StatisticsTask &task, int runs, int tile_rows) {
  if (terms == Terms::kOnline)
    return launch<kPlanes, TileShape::kSmallWarps, Terms::kOnline>(stream, task, runs, tile_rows);
  if (terms == Terms::kSigmoids)
    return launch<kPlanes, TileShape::kSmallWarps, Terms::kSigmoids>(stream, task, runs, tile_rows);
  if constexpr (kPlanes == 3) {
    launch<kPlanes, TileShape::kSmallWarps, Terms::kExponentials>(stream, task, runs, tile_rows);
  } else {
    if (shape == TileShape::kTall)
      return launch<kPlanes, TileShape::kTall, Terms::kExponentials>(stream, task, runs, tile_rows);
    if constexpr (kPlanes == 1)
      if (shape == TileShape::kKeptRows)
        return launch<kPlanes, TileShape::kKeptRows, Terms::kExponentials>(stream, task, runs, tile_rows);
    launch<kPlanes, TileShape::kSquare, Terms::kExponentials>(stream, task, runs, tile_rows);
  }
}

constexpr int kThreads = 128;

}  // namespace

namespace sm80 {

void statistics(Stream &stream, Planes planes, TileShape shape, Terms terms, const StatisticsTask &task, int runs,
                int tile_rows) {
  switch (planes) {
    case Planes::kMedium:
      return launch<1>(stream, shape, terms, task, runs, tile_rows);
    case Planes::kHigh:
      return launch<2>(stream, shape, terms, task, runs, tile_rows);
    case Planes::kHighest:
      return launch<3>(stream, shape, terms, task, runs, tile_rows);
  }
}

}  // namespace sm80

void add_statistics(Stream &stream, const AddStatisticsTask &task) {
  stream.launch("add_statistics", add_statistics, blocks_of(std::max(end_of_rows(task), task.columns), kThreads),
                kThreads, 0, task);
}

}  // namespace infonce::cuda

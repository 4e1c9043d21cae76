#include "cuda/kernels/sm80_panel.cuh"

#include "cuda/launch/sm80.h"

namespace infonce::cuda {
namespace {

constexpr const char *name_of(Terms terms) {
  return terms == Terms::kOnline     ? "write_panel (online)"
         : terms == Terms::kSigmoids ? "write_panel (sigmoids)"
                                     : "write_panel";
}

template <int kPlanes, TileShape kShape, Terms kTerms>
void launch_write(Stream &stream, const PanelTask &task, int runs, int tile_rows) {
  using Tile = LogitsTile<kPlanes, kShape>;
  constexpr size_t kSharedBytes = Tile::kPipelineBytes + sizeof(WeightsShared);
  static_assert(kShape != TileShape::kTall || kSharedBytes <= kTallSharedBytes,
                "the shape is not taken where it does not fit");
  stream.launch(name_of(kTerms), write_panel<Tile, kTerms>, dim3(unsigned(runs), unsigned(tile_rows)), Tile::kThreads,
                kSharedBytes, task);
}

template <int kPlanes>
void launch_write(Stream &stream, TileShape shape, Terms terms, const PanelTask &task, int runs, int tile_rows) {
  if (terms == Terms::kOnline)
    return launch_write<kPlanes, TileShape::kSmallWarps, Terms::kOnline>(stream, task, runs, tile_rows);
  if (terms == Terms::kSigmoids)
    return launch_write<kPlanes, TileShape::kSmallWarps, Terms::kSigmoids>(stream, task, runs, tile_rows);
  if constexpr (kPlanes == 3)
    launch_write<kPlanes, TileShape::kSmallWarps, Terms::kExponentials>(stream, task, runs, tile_rows);
  else if (shape == TileShape::kTall)
    launch_write<kPlanes, TileShape::kTall, Terms::kExponentials>(stream, task, runs, tile_rows);
  else launch_write<kPlanes, TileShape::kSquare, Terms::kExponentials>(stream, task, runs, tile_rows);
}

template <int kPlanes, TileShape kShape>
void launch_accumulate(Stream &stream, const AccumulateTask &task, int tile_rows, int splits) {
  using Tile = LogitsTile<kPlanes, kShape>;
  const dim3 grid(blocks_of(task.other.padded_dim, Tile::kColumns), unsigned(tile_rows), unsigned(splits));
  stream.launch("accumulate_panel", accumulate_panel<Tile>, grid, Tile::kThreads, Tile::kPipelineBytes, task);
}

template <int kPlanes>
void launch_accumulate(Stream &stream, TileShape shape, const AccumulateTask &task, int tile_rows, int splits) {
  if constexpr (kPlanes == 3) launch_accumulate<kPlanes, TileShape::kSmallWarps>(stream, task, tile_rows, splits);
  else if (shape == TileShape::kTall) launch_accumulate<kPlanes, TileShape::kTall>(stream, task, tile_rows, splits);
  else launch_accumulate<kPlanes, TileShape::kSquare>(stream, task, tile_rows, splits);
}

template <int kPlanes, TileShape kShape> int blocks(const Hardware &hardware) {
  using Tile = LogitsTile<kPlanes, kShape>;
  return hardware.resident_blocks("accumulate_panel", accumulate_panel<Tile>, Tile::kThreads, Tile::kPipelineBytes);
}

template <int kPlanes> int blocks(const Hardware &hardware, TileShape shape) {
  if constexpr (kPlanes == 3) return blocks<kPlanes, TileShape::kSmallWarps>(hardware);
  else
    return shape == TileShape::kTall ? blocks<kPlanes, TileShape::kTall>(hardware)
                                     : blocks<kPlanes, TileShape::kSquare>(hardware);
}

}  // namespace

namespace sm80 {

int accumulate_blocks(const Hardware &hardware, Planes planes, TileShape shape) {
  switch (planes) {
    case Planes::kMedium:
      return blocks<1>(hardware, shape);
    case Planes::kHigh:
      return blocks<2>(hardware, shape);
    case Planes::kHighest:
      return blocks<3>(hardware, shape);
  }
  return 1;
}

void write_panel(Stream &stream, Planes planes, TileShape shape, Terms terms, const PanelTask &task, int runs,
                 int tile_rows) {
  switch (planes) {
    case Planes::kMedium:
      return launch_write<1>(stream, shape, terms, task, runs, tile_rows);
    case Planes::kHigh:
      return launch_write<2>(stream, shape, terms, task, runs, tile_rows);
    case Planes::kHighest:
      return launch_write<3>(stream, shape, terms, task, runs, tile_rows);
  }
}

void accumulate_panel(Stream &stream, Planes planes, TileShape shape, const AccumulateTask &task, int tile_rows,
                      int splits) {
  switch (planes) {
    case Planes::kMedium:
      return launch_accumulate<1>(stream, shape, task, tile_rows, splits);
    case Planes::kHigh:
      return launch_accumulate<2>(stream, shape, task, tile_rows, splits);
    case Planes::kHighest:
      return launch_accumulate<3>(stream, shape, task, tile_rows, splits);
  }
}

}  // namespace sm80
}  // namespace infonce::cuda

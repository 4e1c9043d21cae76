#include "cuda/launch/float64.h"

#include <algorithm>

#include "cuda/kernels/sigmoid.cuh"
#include "cuda/launch/launch.h"

namespace infonce::cuda {
namespace {

constexpr int64_t kMostPanelRows = 8192;     // 256 blocks: enough for any device; the rest of the panel is columns
constexpr int64_t kMostTileColumns = 65535;  // grid.y

int64_t round_down(int64_t n, int64_t multiple) { return n / multiple * multiple; }

// Of two numbers multiplied and added for each of so many.
Operations operations_of(int64_t rows, int64_t columns, int64_t depth) {
  return {2.0 * double(rows) * double(columns) * double(depth), true};
}

bool is_masked(const Masks &masks) {
  return masks.row_ids || masks.row_bias || masks.column_bias || masks.row_period || masks.column_period ||
         masks.row_most || masks.column_most || masks.row_target || masks.column_target;
}

Float64Probabilities probabilities_of(const Direction *direction) {
  if (!direction) return {nullptr, nullptr};
  return {direction->upstream, direction->log_sum_exp};
}

}  // namespace

void thresholds(Stream &stream, const ThresholdTask &task) {
  constexpr int kThreads = 128;
  stream.launch("thresholds", thresholds, blocks_of(task.anchors.rows, kThreads), kThreads, 0, task);
}

void float64_log_sum_exp(Stream &stream, const Float64Task &task, const double *positive_logit, double rank_factor,
                         const Direction &direction, bool add, bool ranks) {
  const Tower &owner = task.owner, &other = task.other;
  const Float64Statistics statistics = {
      positive_logit, rank_factor, direction.offset, direction.sum, direction.above, add, ranks};
  stream.launch_in_parts(operations_of(owner.padded_rows, other.padded_rows, owner.padded_dim), "float64_statistics",
                         task.masks.by_guide     ? float64_statistics<true, true>
                         : is_masked(task.masks) ? float64_statistics<true>
                                                 : float64_statistics<false>,
                         dim3(unsigned(owner.padded_rows / DoubleTile::kRows)), DoubleTile::kThreads, 0, task,
                         statistics);
}

namespace {

// accumulators = the sum over the other tower's rows of weights times unit rows, panel by panel, whose weights
// `launch_weights(panel, grid)` writes. Without `has_weights` zeros.
template <class LaunchWeights>
void accumulate(Stream &stream, const Float64Task &task, bool has_weights, double *panel, int64_t panel_elements,
                double *accumulators, LaunchWeights &&launch_weights) {
  const Tower &owner = task.owner, &other = task.other;
  const int64_t tile_columns = has_weights ? blocks_of(other.rows, DoubleTile::kColumns) : 0;
  const unsigned dim_tiles = blocks_of(owner.padded_dim, DoubleTile::kColumns);
  const int64_t rows = std::min(
      {owner.padded_rows, kMostPanelRows, round_down(panel_elements / DoubleTile::kColumns, DoubleTile::kRows)});
  const int64_t columns =
      DoubleTile::kColumns * std::min({tile_columns, kMostTileColumns, panel_elements / rows / DoubleTile::kColumns});

  Float64Panel block = {panel, 0, 0, 0, 0};
  for (; block.first_row < owner.padded_rows; block.first_row += rows) {
    block.rows = std::min(rows, owner.padded_rows - block.first_row);
    const unsigned tile_rows = unsigned(block.rows / DoubleTile::kRows);
    block.first_column = 0;
    do {  // once without columns as well: the accumulators are written
      block.columns = std::min(columns, tile_columns * DoubleTile::kColumns - block.first_column);
      if (block.columns > 0) launch_weights(block, dim3(tile_rows, unsigned(block.columns / DoubleTile::kColumns)));
      stream.launch_in_parts(operations_of(block.rows, block.columns, owner.padded_dim), "float64_accumulate",
                             float64_accumulate, dim3(dim_tiles, tile_rows), DoubleTile::kThreads, 0, task, block,
                             accumulators);
      block.first_column += columns;
    } while (block.first_column < tile_columns * DoubleTile::kColumns);
  }
}

}  // namespace

void float64_gradient(Stream &stream, const Float64Task &task, const Direction *owner_direction,
                      const Direction *other_direction, double *panel, int64_t panel_elements, double *accumulators) {
  const auto weights = task.masks.by_guide     ? float64_weights<true, true>
                       : is_masked(task.masks) ? float64_weights<true>
                                               : float64_weights<false>;
  const Float64Probabilities of_owner = probabilities_of(owner_direction), of_other = probabilities_of(other_direction);
  accumulate(stream, task, owner_direction || other_direction, panel, panel_elements, accumulators,
             [&](const Float64Panel &block, dim3 grid) {
               stream.launch_in_parts(operations_of(block.rows, block.columns, task.owner.padded_dim),
                                      "float64_weights", weights, grid, DoubleTile::kThreads, 0, task, of_owner,
                                      of_other, block);
             });
}

void sigmoid_statistics(Stream &stream, const SigmoidTask &task, const double *positive_logit,
                        const Direction &direction, bool add, bool ranks) {
  const Tower &owner = task.block.owner;
  const Float64Statistics statistics = {positive_logit, 1, direction.offset, direction.sum, direction.above, add,
                                        ranks};
  stream.launch_in_parts(operations_of(owner.padded_rows, task.block.other.padded_rows, owner.padded_dim),
                         "sigmoid_statistics", sigmoid_statistics,
                         dim3(unsigned(owner.padded_rows / DoubleTile::kRows)), DoubleTile::kThreads, 0, task,
                         statistics);
}

void sigmoid_losses(Stream &stream, const LossesTask &task) {
  constexpr int kThreads = 128;
  stream.launch("sigmoid_losses", sigmoid_losses, blocks_of(task.anchors.padded_rows, kThreads), kThreads, 0, task);
}

void sigmoid_bias(Stream &stream, const LossesTask &task, Report *report, infonce_scalars *scalars) {
  stream.launch("sigmoid_bias", sigmoid_bias, 1, kWarp, 0, task, report, scalars);
}

void sigmoid_gradient(Stream &stream, const SigmoidTask &task, const Direction *owner_direction,
                      const Direction *other_direction, double *panel, int64_t panel_elements, double *accumulators) {
  const double *of_owner = owner_direction ? owner_direction->upstream : nullptr;
  const double *of_other = other_direction ? other_direction->upstream : nullptr;
  accumulate(stream, task.block, true, panel, panel_elements, accumulators, [&](const Float64Panel &block, dim3 grid) {
    stream.launch_in_parts(operations_of(block.rows, block.columns, task.block.owner.padded_dim), "sigmoid_weights",
                           sigmoid_weights, grid, DoubleTile::kThreads, 0, task, of_owner, of_other, block);
  });
}

}  // namespace infonce::cuda

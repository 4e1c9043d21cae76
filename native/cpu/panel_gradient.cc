// The gradient of the float32 scheme: tiles from the last to the first, each adding to the accumulators of its rows and
// of its columns.
#include "cpu/panel_scheme.h"

namespace infonce::cpu {
namespace {
constexpr int64_t kPieceRows = 32;  // the smallest share of a square that a gradient task takes
constexpr int64_t kLeastBlock = 64;
}  // namespace

void PanelScheme::open_gradient() {
  panel_is_filled_ = request_.keeps;
  along_parts_ = 0;
  passes_.resume();
}

BadRow PanelScheme::add_gradient(float *gradient) {
  if (const BadRow bad = passes_.prepare_part(); bad.row >= 0) return bad;
  passes_.weigh_columns(shift_);
  passes_.weigh_large_classes_of_part();
  passes_.begin_smoothing_of_part();
  std::fill_n(no_weight_, passes_.part()->columns.padded_rows, 0.0f);
  const bool is_filled = part_number_ > 0 && kept_parts_[part_number_].is_filled;
  for (const Tile &tile : part_tiles_) {
    if (!is_filled || !tile.kept) compute_tile(tile, false);
    accumulate_tile(tile, nullptr);
  }
  if (passes_.part_has_positives() || passes_.smooths_part()) {
    Accumulators &anchors = accumulators_[passes_.layout().anchors()];
    clear_rest(&anchors);
    pool_.parallel(blocks_of(passes_.rows(), block_), [&](int64_t square, int thread) {
      float *sums = anchors.sums + square * block_ * passes_.padded_dim();
      if (passes_.part_has_positives()) passes_.add_met_positives(true, square * block_, block_, sums, block_, thread);
      passes_.add_smoothing_of_part(true, square * block_, block_, sums, block_);
    });
  }
  if (!gradient && !passes_.counts_part()) return {};
  const int64_t rows = passes_.part()->columns.rows;
  radial_of_part_.assign(blocks_of(rows, kPieceRows), 0.0);
  finish_matrix(kPart, rows, gradient);
  for (const double along : radial_of_part_)
    along_parts_ += passes_.counts_part() ? passes_.weight_of_parts() * along : 0;
  return {};
}

void PanelScheme::close_gradient(infonce_result *result) {
  const Layout &layout = passes_.layout();
  passes_.begin_gradients(*result);
  if (!panel_is_filled_) place_tiles();
  radial_.assign(blocks_of(passes_.counts_all() ? layout.end() : passes_.rows(), kPieceRows), 0.0);
  radial_apart_.assign(radial_.size(), 0.0);
  for (const Grid &grid : grids_) std::fill_n(no_weight_, grid.block->columns.padded_rows, 0.0f);
  bool apart = counts_apart_;
  for (auto tile = tiles_.rbegin(); tile != tiles_.rend(); ++tile) {
    if (apart && tile->grid->is_triangle()) {
      count_apart();
      apart = false;
    }
    if (!tile->kept || !panel_is_filled_) compute_tile(*tile, false);
    accumulate_tile(*tile, result);
  }
  for (int k = 0; k < layout.count(); ++k) {
    const int matrix = layout.matrix(k);
    const bool is_done = accumulates_once() && (matrix == tiles_[0].grid->block->rows.matrix ||
                                                matrix == tiles_[0].grid->block->columns.matrix);
    float *gradient = wants(matrix) ? result->gradients[matrix].data : nullptr;
    if (accumulates(matrix) && !is_done) finish_matrix(matrix, layout.rows(matrix), gradient);
  }
  double along = 0, along_apart = 0;
  for (size_t piece = 0; piece < radial_.size(); ++piece) along += radial_[piece], along_apart += radial_apart_[piece];
  result->scalars.grad_scale = passes_.grad_scale(along + along_parts_, along_apart);
  if (sigmoid()) result->scalars.grad_bias = passes_.grad_bias();
}

// Beside that of its rows.
bool PanelScheme::has_column_gradient(const Tile &tile) const {
  return !tile.on_diagonal && accumulates(tile.grid->block->columns.matrix);
}

// Squares in order, the middle ones in pieces: threads start from both ends and meet there, and small tasks let them end
// together.
std::vector<PanelScheme::Owner> PanelScheme::owners_of(const Tile &tile) const {
  std::vector<Owner> squares, owners;
  for (const bool of_rows : {true, false}) {
    if (!of_rows && !has_column_gradient(tile)) break;
    const Side<float> &side = of_rows ? tile.grid->block->rows : tile.grid->block->columns;
    const int64_t first = of_rows ? tile.row : tile.column;
    for (int64_t s = 0; s < (of_rows ? tile.rows : tile.columns); ++s)
      squares.push_back({of_rows, s, 0, rows_of(side, first + s)});
  }
  const int64_t count = int64_t(squares.size());
  const int64_t split = pool_.threads() > 1 ? std::min<int64_t>(count, 2 * pool_.threads()) : 0;
  for (int64_t k = 0; k < count; ++k) {
    const bool whole = k < (count - split) / 2 || k >= (count + split) / 2;
    const int64_t piece = whole ? squares[k].count : kPieceRows;
    for (int64_t offset = 0; offset < squares[k].count; offset += piece)
      owners.push_back({squares[k].of_rows, squares[k].square, offset, piece});
  }
  return owners;
}

void PanelScheme::accumulate_tile(const Tile &tile, infonce_result *result) {
  const std::vector<Owner> owners = owners_of(tile);
  const auto side_of = [&](const Owner &owner) -> const Side<float> & {
    return owner.of_rows ? tile.grid->block->rows : tile.grid->block->columns;
  };
  const auto square_of = [&](const Owner &owner) { return owner.square + (owner.of_rows ? tile.row : tile.column); };
  pool_.parallel(int64_t(owners.size()), [&](int64_t task, int thread) {
    const Owner &owner = owners[task];
    const int matrix = side_of(owner).matrix;
    const int64_t square = square_of(owner), first = square * block_ + owner.offset;
    if (accumulates_once()) {
      float *sums = scratch_[thread].accumulators;
      accumulate_owner(tile, owner, sums, false, thread);
      return finish(matrix, first, first + owner.count, sums, result->gradients[matrix].data, thread);
    }
    const Accumulators &of = accumulators_[matrix];
    float *sums = of.sums + square * block_ * passes_.padded_dim() + owner.offset * kernels_.float32.panel;
    accumulate_owner(tile, owner, sums, of.is_begun[square], thread);
  });
  for (const Owner &owner : owners)
    if (!accumulates_once()) accumulators_[side_of(owner).matrix].is_begun[square_of(owner)] = true;
}

// Sums that nothing was added to yet.
void PanelScheme::clear_rest(Accumulators *accumulators) const {
  const int64_t floats = block_ * passes_.padded_dim();
  for (size_t square = 0; square < accumulators->is_begun.size(); ++square) {
    if (accumulators->is_begun[square]) continue;
    std::fill_n(accumulators->sums + int64_t(square) * floats, floats, 0.0f);
    accumulators->is_begun[square] = true;
  }
}

// What the anchors' accumulators hold by now comes from all blocks but the triangle.
void PanelScheme::count_apart() {
  const int anchors = passes_.layout().anchors();
  clear_rest(&accumulators_[anchors]);
  pool_.parallel(blocks_of(passes_.rows(), block_), [&](int64_t square, int thread) {
    const int64_t first = square * block_, end = std::min(first + block_, passes_.rows());
    float *sums = accumulators_[anchors].sums + first * passes_.padded_dim();
    for (int64_t piece = first; piece < end; piece += kPieceRows)
      radial_apart_[piece / kPieceRows] = passes_.count_apart(
          piece, std::min(kPieceRows, end - piece), sums + (piece - first) * kernels_.float32.panel, block_, thread);
  });
}

void PanelScheme::finish_matrix(int matrix, int64_t rows, float *gradient) {
  Accumulators &of = accumulators_[matrix];
  if (of.sums) clear_rest(&of);
  const int64_t floats = block_ * passes_.padded_dim();
  pool_.parallel(blocks_of(rows, block_), [&](int64_t square, int thread) {
    float *sums = of.sums ? of.sums + square * floats : scratch_[thread].accumulators;
    // In no block: all it gets comes from its pairs.
    if (!of.sums) std::fill_n(sums, floats, 0.0f);
    finish(matrix, square * block_, std::min((square + 1) * block_, rows), sums, gradient, thread);
  });
}

void PanelScheme::finish(int matrix, int64_t first, int64_t end, float *accumulators, float *gradient, int thread) {
  // In the order of the layout, which the anchors begin.
  const bool is_counted = matrix != kPart && (matrix == passes_.layout().anchors() || passes_.counts_all());
  const int64_t before = is_counted ? passes_.layout().first(matrix) : 0;
  if (matrix != kPart) end = std::min(end, passes_.layout().rows(matrix));
  for (int64_t piece = first; piece < end; piece += kPieceRows) {
    const double along =
        passes_.finish(matrix, counts_apart_, piece, std::min(kPieceRows, end - piece),
                       accumulators + (piece - first) * kernels_.float32.panel, block_, gradient, thread);
    if (matrix == kPart) radial_of_part_[piece / kPieceRows] = along;
    else if (is_counted) radial_[(before + piece) / kPieceRows] = along;
  }
}

void PanelScheme::accumulate_owner(const Tile &tile, const Owner &owner, float *accumulators, bool begun, int thread) {
  // In a tile on the diagonal the squares left of it are stored as their mirror images.
  const int64_t diagonal = tile.on_diagonal ? owner.square : 0;
  if (tile.on_diagonal) begun = accumulate(tile, owner, true, 0, diagonal, accumulators, begun, thread);
  if (owner.of_rows) accumulate(tile, owner, false, diagonal, tile.columns, accumulators, begun, thread);
  else accumulate(tile, owner, true, 0, tile.rows, accumulators, begun, thread);
}

// Adds what squares first ... end of the other side give, as many at a time as fill a gradient panel. Returns whether
// the accumulators hold something.
bool PanelScheme::accumulate(const Tile &tile, const Owner &owner, bool squares_are_transposed, int64_t first,
                             int64_t end, float *accumulators, bool begun, int thread) {
  const Block<float> &block = *tile.grid->block;
  const Side<float> &mine = owner.of_rows ? block.rows : block.columns;
  const Side<float> &others = owner.of_rows ? block.columns : block.rows;
  const Operand<float> &other = passes_.operand(others.matrix, thread);
  const auto weight_of = [&](const Side<float> &side) { return side.softmax ? side.softmax->weight : no_weight_; };
  const auto target_of = [&](const Side<float> &side) {
    return side.targets ? side.targets : side.softmax ? side.softmax->target : no_weight_;
  };
  const int64_t first_row = ((owner.of_rows ? tile.row : tile.column) + owner.square) * block_ + owner.offset;
  // The other side of a transposed square is its rows, also when the owner is one of the tile's rows.
  const int64_t other_side = squares_are_transposed ? tile.row : tile.column;
  const int64_t step = kGradientDepth / block_;
  const float *squares[2][kGradientDepth / kLeastBlock];  // of this panel and of the next, in turn
  const auto find = [&](int64_t k, const float **found) {
    const int64_t count = std::max<int64_t>(0, std::min(step, end - k));
    for (int64_t s = 0; s < count; ++s)
      found[s] = squares_are_transposed ? square_of(tile, k + s, owner.square) + owner.offset
                                        : square_of(tile, owner.square, k + s) + owner.offset * block_;
    return int(count);
  };
  GradientPanel panel{};
  panel.block_rows = panel.stride = int(block_);
  panel.owner_is_row = !squares_are_transposed;
  panel.owner_count = int(owner.count);
  panel.owner_weight = weight_of(mine) + first_row;
  const bool classes = mine.large_classes && others.large_classes;
  if (classes) {
    panel.owner_class = mine.large_classes + first_row;
    panel.owner_target = target_of(mine) + first_row;
  }
  panel.other = &other;
  panel.accumulators = accumulators;
  panel.accumulator_rows = block_;
  panel.scratch = scratch_[thread].pack;
  panel.next_count = find(first, squares[0]);
  for (int64_t k = first, turn = 0; k < end && !pool_.cancelled(); k += step, turn ^= 1) {
    panel.exponentials = squares[turn];
    panel.block_count = panel.next_count;
    panel.next = squares[turn ^ 1];
    panel.next_count = find(k + step, squares[turn ^ 1]);
    panel.other_first = (other_side + k) * block_;
    panel.other_count = int(std::min(panel.block_count * block_, other.padded_rows - panel.other_first));
    panel.other_weight = weight_of(others) + panel.other_first;
    if (classes) {
      panel.other_class = others.large_classes + panel.other_first;
      panel.other_target = target_of(others) + panel.other_first;
    }
    panel.accumulate = begun;
    kernels_.gradient_panel(panel);
    begun = true;
  }
  return begun;
}

}  // namespace infonce::cpu

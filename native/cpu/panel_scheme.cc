#include "cpu/panel_scheme.h"

#include "common/constants.h"
#include "cpu/memory.h"

namespace infonce::cpu {
namespace {

constexpr int kSmallBlockBits = 6;
constexpr int64_t kSmallBlock = 1 << kSmallBlockBits, kLargeBlock = 2 * kSmallBlock;
constexpr int64_t kSmallBlockRows =
    2048;  // up to here 64-row squares balance better; above, 128 halve the partial sums
constexpr int64_t kPanelBytes = int64_t(136) << 20;  // the triangle of N = 8192
constexpr int64_t kMostPanels = 64;                  // of more the panel would hold too little to save time
constexpr int64_t kTileRows = 1024;                  // a tile that is computed again: 4 MB, stays in the outer cache
constexpr double kSmallestSum = 1e-26;  // e^-60: terms that were flushed to zero no longer matter beside it

}  // namespace

PanelScheme::PanelScheme(const Request &request, const Kernels &kernels, const Pairs &pairs, ThreadPool &pool)
    : request_(request),
      problem_(request.problem),
      kernels_(kernels),
      pairs_(pairs),
      pool_(pool),
      passes_(request, kernels, pairs, pool),
      counts_apart_(passes_.counts_apart(request.in_parts)),
      standing_(passes_.rows_of_parts()),
      scratch_(pool.threads()) {
  int64_t columns = 0;  // that an anchor meets
  for (const Block<float> &block : passes_.blocks()) columns = round_up(columns, kMaxBlock) + block.columns.rows;
  block_ = std::max(passes_.rows(), columns) <= kSmallBlockRows ? kSmallBlock : kLargeBlock;
  int64_t squares = 0, longest = 0, bytes = 0;
  for (const Block<float> &block : passes_.blocks()) {
    const int64_t rows = blocks_of(block.rows.rows, block_), others = blocks_of(block.columns.rows, block_);
    squares += block.is_triangle ? rows * (rows + 1) / 2 : rows * others;
    longest = std::max({longest, rows, others});
    bytes += rows * others / 8;
  }
  const bool all_kept = squares * block_ * block_ * int64_t(sizeof(float)) <= kPanelBytes;
  const int64_t tile_squares = all_kept ? std::max<int64_t>(longest, 1) : kTileRows / block_;
  require_memory(bytes + squares / tile_squares / tile_squares * int64_t(sizeof(Tile)));
  for (const Block<float> &block : passes_.blocks()) grids_.push_back(grid_of(block));
  for (const Grid &grid : grids_) {
    const std::vector<Tile> tiles = tiles_of(grid, tile_squares, 0, grid.row_squares);
    tiles_.insert(tiles_.end(), tiles.begin(), tiles.end());
  }
}

PanelScheme::Grid PanelScheme::grid_of(const Block<float> &block) const {
  Grid grid = {&block, blocks_of(block.rows.rows, block_), blocks_of(block.columns.rows, block_), {}};
  grid.holds_pairs.assign(grid.row_squares * grid.column_squares, false);
  find_pairs(&grid);
  return grid;
}

void PanelScheme::find_pairs(Grid *grid) const {
  const int matrix = grid->block->columns.matrix;
  const Layout &layout = passes_.layout();
  if (grid->block->holds_own)
    for (int64_t j = 0; j < layout.rows(matrix); ++j)
      grid->holds_pairs[j % passes_.rows() / block_ * grid->column_squares + j / block_] = true;
  if (const int64_t first = grid->block->first_number; first >= 0)
    for (int64_t i = 0; i < passes_.rows(); ++i) {
      const int64_t j = grid->block->rows.groups[i] - first;
      if (j >= 0 && j < grid->block->columns.rows)
        grid->holds_pairs[i / block_ * grid->column_squares + j / block_] = true;
    }
  if (matrix == kPart && positives_are_elsewhere_by_id(problem_))
    grid->holds_pairs.assign(grid->holds_pairs.size(), true);
  if (matrix != layout.anchors() && matrix != layout.elsewhere()) return;
  const int64_t squares = grid->column_squares;
  if (grid->block->rows.matrix != layout.anchors()) {
    for (int64_t s = 0; s < std::min(grid->row_squares, squares); ++s) grid->holds_pairs[s * (squares + 1)] = true;
    return;
  }
  const int bits = block_ == kSmallBlock ? kSmallBlockBits : kSmallBlockBits + 1;  // many divisions would take time
  if (sigmoid()) {
    const bool by_index = problem_.softmaxes[0].positive == INFONCE_POSITIVE_SAME_INDEX;
    if (positives_are_elsewhere_by_id(problem_)) grid->holds_pairs.assign(grid->holds_pairs.size(), true);
    for (int64_t i = 0; i < passes_.rows() && by_index; i += block_)
      grid->holds_pairs[(i >> bits) * (squares + 1)] = true;
    return;
  }
  for (int64_t i = 0; i < passes_.rows(); ++i)
    pairs_.for_each_partner(i, [&](int64_t j, bool) {
      const Layout::Place place = layout.place_of(j);
      if (place.matrix == matrix) grid->holds_pairs[(i >> bits) * squares + (place.row >> bits)] = true;
    });
  if (pairs_.has_large_classes() && !has_positives(problem_.softmaxes[0].row_loss)) find_large_classes(grid);
}

// Of losses whose denominators have no positives: their pairs are left out, too, wherever rows of a class meet.
void PanelScheme::find_large_classes(Grid *grid) const {
  const Layout &layout = passes_.layout();
  const auto note = [](int64_t square, std::vector<int64_t> *squares) {
    if (squares->empty() || squares->back() != square) squares->push_back(square);
  };
  for (int64_t c = 0; c < pairs_.large_class_count(); ++c) {
    std::vector<int64_t> rows, columns;  // squares, ascending as members do
    pairs_.for_each_member(c, [&](int64_t member) {
      const Layout::Place place = layout.place_of(member);
      if (place.matrix == layout.anchors()) note(place.row / block_, &rows);
      if (place.matrix == grid->block->columns.matrix) note(place.row / block_, &columns);
    });
    for (const int64_t row : rows)
      for (const int64_t column : columns) grid->holds_pairs[row * grid->column_squares + column] = true;
  }
}

std::vector<PanelScheme::Tile> PanelScheme::tiles_of(const Grid &grid, int64_t tile_squares, int64_t first,
                                                     int64_t end) const {
  std::vector<Tile> tiles;
  for (int64_t p = first; p < end; p += tile_squares)
    for (int64_t q = grid.is_triangle() ? p : 0; q < grid.column_squares; q += tile_squares)
      tiles.push_back({&grid, p, q, std::min(tile_squares, end - p), std::min(tile_squares, grid.column_squares - q),
                       grid.is_triangle() && p == q, nullptr});
  return tiles;
}

void PanelScheme::take_up(const infonce_part *part, bool wants_gradient) {
  passes_.take_up(part);
  part_has_gradient_ = wants_gradient;
  part_number_ = part ? part->number : 0;
  part_tiles_.clear();
  if (!part) return;
  part_grid_ = grid_of(*passes_.part());
  int64_t first = 0, end = part_grid_.row_squares;
  if (part->anchor_count > 0) {
    const int64_t behind = part->first_anchor + part->anchor_count;
    first = part->first_anchor / block_;
    end = blocks_of(behind, block_);
    // Rows of squares at the ends may be left out.
    if (part->first_anchor % block_ != 0 || behind % block_ != 0)
      part_grid_.holds_pairs.assign(part_grid_.holds_pairs.size(), true);
  }
  part_tiles_ = tiles_of(part_grid_, kTileRows / block_, first, end);
}

int64_t PanelScheme::tables() const {
  int64_t bytes = int64_t(tiles_.size() * sizeof(Tile));
  for (const Grid &grid : grids_) bytes += grid.row_squares * grid.column_squares / 8;
  return bytes;
}

void PanelScheme::take_accumulators(Workspace::Cursor &cursor, int matrix, int64_t rows) {
  const int64_t squares = blocks_of(rows, block_);
  accumulators_[matrix].sums = cursor.take<float>(squares * block_ * passes_.padded_dim());
  accumulators_[matrix].is_begun.assign(squares, false);
}

void PanelScheme::take_gradient(Workspace::Cursor &cursor) {
  for (int m = 0; m < problem_.matrix_count; ++m)
    if (standing_ >> m & 1) take_accumulators(cursor, m, passes_.layout().rows(m));
}

// The last tiles are kept: the gradient pass walks backwards and finds them in the cache. Of a part all or none.
void PanelScheme::take_panel(Workspace::Cursor &cursor) {
  int64_t left = kPanelBytes / int64_t(sizeof(float));
  const auto floats_of = [&](const Tile &tile) { return tile.squares() * block_ * block_; };
  if (const Block<float> *part = passes_.part(); !part) {
    kept_parts_[0] = {0, false};
    for (auto tile = tiles_.rbegin(); tile != tiles_.rend(); ++tile) {
      const int64_t floats = floats_of(*tile);
      tile->kept = floats <= left ? cursor.take<float>(floats) : nullptr;
      if (floats > left) continue;
      left -= floats;
      kept_parts_[0].floats += floats;
    }
    return;
  }
  int64_t floats = 0;
  for (const Tile &tile : part_tiles_) floats += floats_of(tile);
  KeptPart &kept = kept_parts_[part_number_];
  if (kept.floats != floats) kept = {0, false};
  for (const auto &[number, other] : kept_parts_) left -= number == part_number_ ? 0 : other.floats;
  if (floats > left) return;
  kept.floats = floats;
  for (Tile &tile : part_tiles_) tile.kept = cursor.take<float>(floats_of(tile));
}

void PanelScheme::take_scratch(Workspace::Cursor &cursor) {
  passes_.take_scratch(cursor, kernels_.bfloat16);
  const int64_t square_floats = block_ * block_, dim = passes_.padded_dim();
  int64_t all = 0;
  for (const Tile &tile : tiles()) all += tile.squares() * square_floats;
  int64_t budget = passes_.part() || request_.keeps ? 0 : kPanelBytes / int64_t(sizeof(float));
  if (all > kMostPanels * budget) budget = 0;
  int64_t slots = 0, column_slots = 0, longest = 0;
  panel_floats_ = scratch_floats_ = 0;
  // The last tiles of the first pass are kept: the gradient pass walks backwards and finds them in the cache.
  for (auto tile = tiles().rbegin(); tile != tiles().rend(); ++tile) {
    const int64_t of_tile = tile->rows * tile->columns * block_;
    slots = std::max(slots, of_tile);
    if (tile->has_column_sums()) column_slots = std::max(column_slots, of_tile);
    longest = std::max(longest, tile->grid->block->columns.padded_rows);
    const int64_t size = problem_.gradient ? tile->squares() * square_floats : 0;
    if (request_.keeps && tile->kept) continue;
    if (panel_floats_ + size <= budget) panel_floats_ += size;
    else scratch_floats_ = std::max(scratch_floats_, size);
  }
  panel_ = cursor.take<float>(panel_floats_);
  tile_scratch_ = cursor.take<float>(scratch_floats_);
  const int64_t counted = problem_.ranks ? 1 : 0;
  row_slots_ = {cursor.take<float>(slots), cursor.take<float>(counted * slots),
                cursor.take<float>(sigmoid() ? slots : 0)};
  column_slots_ = {cursor.take<float>(column_slots), cursor.take<float>(counted * column_slots), nullptr};
  no_weight_ = cursor.take<float>(std::max(longest, passes_.padded_rows()));
  for (int m = 0; m <= kPart; ++m)
    if (!request_.in_parts || !(standing_ >> m & 1)) accumulators_[m].sums = nullptr;
  if (problem_.gradient && !accumulates_once()) {
    if (!request_.in_parts) take_gradient(cursor);
    uint32_t taken = standing_;
    const auto take_sides = [&](const Grid &grid) {
      for (const Side<float> *side : {&grid.block->rows, &grid.block->columns}) {
        const uint32_t bit = uint32_t(1) << side->matrix;
        if (!(taken & bit) && accumulates(side->matrix)) take_accumulators(cursor, side->matrix, side->rows);
        taken |= bit;
      }
    };
    if (passes_.part()) take_sides(part_grid_);
    else std::for_each(grids_.begin(), grids_.end(), take_sides);
  }
  for (ThreadScratch &scratch : scratch_) {
    scratch.square = cursor.take<float>(square_floats);
    scratch.statistics = cursor.take<float>(block_ * kernels_.float32.panel * (sigmoid() ? 2 : 1));
    scratch.pack = cursor.take<float>(kGradientScratch);
    scratch.accumulators = cursor.take<float>(block_ * dim);
    scratch.guide_dots = passes_.has_guides() ? cursor.take<float>(square_floats) : nullptr;
  }
}

void PanelScheme::place_tiles() {
  if (request_.keeps) return;
  float *next = panel_, *end = panel_ + panel_floats_;
  for (auto tile = tiles().rbegin(); tile != tiles().rend(); ++tile) {
    const int64_t size = tile->squares() * block_ * block_;
    const bool fits = end - next >= size;
    tile->kept = fits ? next : nullptr;
    if (fits) next += size;
  }
}

float *PanelScheme::square_of(const Tile &tile, int64_t i, int64_t j) const {
  return (tile.kept ? tile.kept : tile_scratch_) + tile.index(i, j) * block_ * block_;
}

int64_t PanelScheme::rows_of(const Side<float> &side, int64_t square) const {
  return std::min(block_, side.padded_rows - square * block_);
}

// Above, a constant shift loses too many rows, too.
bool PanelScheme::can_hold(double largest_logit) { return largest_logit <= kLargestLogit * (1 + 1e-6); }

bool PanelScheme::surely_holds(double largest_logit) { return largest_logit <= kSafeLogit * (1 - 1e-6); }

Outcome PanelScheme::open() {
  if (const BadRow bad = passes_.prepare(); bad.row >= 0) return {true, bad};
  constexpr Outcome kCannot{false};
  if (!sigmoid() && !can_hold(passes_.largest_logit())) return kCannot;
  place_tiles();
  shift_ = sigmoid() ? -problem_.bias : std::max(0.0, passes_.largest_logit() - kSafeLogit);
  passes_.rank();
  passes_.sum_large_classes();
  passes_.sum_smoothed();
  passes_.weigh_positives();
  if (passes_.has_tight_class()) return kCannot;
  const int64_t padded_rows = passes_.padded_rows();
  for (int s = 0; s < passes_.softmax_count(); ++s) {
    std::fill_n(passes_.softmaxes[s].sum, padded_rows, 0.0);
    std::fill_n(passes_.softmaxes[s].offset, padded_rows, shift_);
    if (sigmoid()) std::fill_n(passes_.softmaxes[s].slope, padded_rows, 0.0);
  }
  has_losses_ = tiles_.size() == 1 && !request_.in_parts;
  for (const Tile &tile : tiles_) {
    compute_tile(tile, true);
    if (!has_losses_) sum_tile(tile);
  }
  if (!has_losses_) return {};
  // Rows' losses at once with their sums: one meeting of the threads less.
  const Tile &tile = tiles_[0];
  pool_.parallel(blocks_of(passes_.rows(), block_), [&](int64_t s, int thread) {
    add_statistics(tile, true, s);
    if (tile.has_column_sums()) add_statistics(tile, false, s);
    passes_.losses(s * block_, rows_of(tile.grid->block->rows, s), thread);
  });
  return {};
}

BadRow PanelScheme::add() {
  if (const BadRow bad = passes_.prepare_part(); bad.row >= 0) return bad;
  if (passes_.adds_terms()) return passes_.meet_terms(), BadRow();
  passes_.begin_column_sums(shift_);
  for (const Tile &tile : part_tiles_) {
    compute_tile(tile, true);
    sum_tile(tile);
  }
  if (part_number_ > 0) kept_parts_[part_number_].is_filled = part_tiles_.front().kept != nullptr;
  passes_.end_column_sums();
  passes_.meet_positives();
  passes_.smooth_part();
  return {};
}

Outcome PanelScheme::close(infonce_result *result) {
  if (!has_losses_) passes_.losses();
  if (!sums_are_safe()) return {false};
  passes_.write_losses(result);
  panel_is_filled_ = problem_.gradient != 0 || request_.keeps;
  return {};
}

void PanelScheme::compute_tile(const Tile &tile, bool statistics) {
  pool_.parallel(tile.squares(), [&](int64_t index, int thread) {
    int64_t i = 0, j = 0;
    if (tile.on_diagonal) {
      while (index >= tile.index(i, tile.rows - 1) + 1) ++i;
      j = i + index - tile.index(i, i);
    } else {
      i = index / tile.columns;
      j = index % tile.columns;
    }
    compute_square(tile, i, j, statistics, thread);
  });
}

void PanelScheme::compute_square(const Tile &tile, int64_t i, int64_t j, bool statistics, int thread) {
  const Grid &grid = *tile.grid;
  const Side<float> &rows = grid.block->rows, &columns = grid.block->columns;
  const int64_t row_square = tile.row + i, column_square = tile.column + j;
  LogitsBlock block{};
  block.rows = &passes_.operand(rows.matrix, thread);
  block.columns = &passes_.operand(columns.matrix, thread);
  block.first_row = row_square * block_;
  block.first_column = column_square * block_;
  block.row_count = int(rows_of(rows, row_square));
  block.column_count = int(rows_of(columns, column_square));
  block.scale = float(grid.block->scale * kLog2E);
  block.shift = float(shift_ * kLog2E);
  const bool padding =
      block.first_row + block.row_count > rows.rows || block.first_column + block.column_count > columns.rows;
  const bool on_diagonal = grid.is_triangle() && row_square == column_square;
  block.masked = padding || on_diagonal || grid.holds_pairs[row_square * grid.column_squares + column_square];
  block.row_group = rows.groups + block.first_row;
  block.column_group = columns.groups + block.first_column;
  if (columns.ids) block.row_id = rows.ids + block.first_row, block.column_id = columns.ids + block.first_column;
  if (columns.bias) block.column_bias = columns.bias + block.first_column;
  const Threshold threshold = threshold_at(block, *grid.block, thread);
  if (grid.block->by_threshold) block.threshold = &threshold;
  block.exponentials = problem_.gradient || tile.kept ? square_of(tile, i, j) : scratch_[thread].square;
  block.stride = int(block_);
  block.scratch = scratch_[thread].statistics;
  if (statistics) {
    const int64_t row_slot = (j * tile.rows + i) * block_, column_slot = (i * tile.columns + j) * block_;
    block.row_sum = row_slots_.sum + row_slot;
    if (sigmoid()) block.row_slope = row_slots_.slope + row_slot;
    if (problem_.ranks) {
      block.row_above = row_slots_.above + row_slot;
      block.row_rank = rows.softmax->rank + block.first_row;
    }
    if (columns.softmax && !on_diagonal) {
      // Within a tile on the diagonal both kinds are sums of the same rows.
      const Slots &slots = tile.on_diagonal ? row_slots_ : column_slots_;
      block.column_sum = slots.sum + column_slot;
      if (problem_.ranks) {
        block.column_above = slots.above + column_slot;
        block.column_rank = columns.softmax->rank + block.first_column;
      }
    }
  }
  if (sigmoid()) kernels_.sigmoid_block(block);
  else kernels_.logits_block(block);
}

Threshold PanelScheme::threshold_at(const LogitsBlock &square, const Block<float> &block, int thread) {
  Threshold threshold{};
  if (!block.by_threshold) return threshold;
  Thresholds<float> &of = *passes_.thresholds();
  if (of.by_guide()) {
    threshold.rows = &of.guide(block.rows.matrix, thread);
    threshold.columns = &of.guide(block.columns.matrix, thread);
    threshold.dots = scratch_[thread].guide_dots;
  }
  const int columns = block.columns.matrix;
  threshold.most = of.most(columns) + square.first_row;
  if (!of.near(columns)) return threshold;
  threshold.near = of.near(columns) + square.first_row;
  threshold.is_above = Thresholds<float>::is_above;
  threshold.asked = of.ask(columns, thread);
  return threshold;
}

void PanelScheme::sum_tile(const Tile &tile) {
  const Block<float> &block = *tile.grid->block;
  const int64_t columns = tile.has_column_sums() ? tile.columns : 0;
  // Both sides may add to the same sums; those of a triangle's tile are different rows.
  const bool apart = columns > 0 && !block.is_triangle && block.rows.softmax == block.columns.softmax;
  pool_.parallel(tile.rows + (apart ? 0 : columns), [&](int64_t owner, int) {
    const bool of_rows = owner < tile.rows;
    add_statistics(tile, of_rows, of_rows ? owner : owner - tile.rows);
  });
  if (apart) pool_.parallel(columns, [&](int64_t owner, int) { add_statistics(tile, false, owner); });
}

void PanelScheme::add_statistics(const Tile &tile, bool of_rows, int64_t s) {
  const Side<float> &side = of_rows ? tile.grid->block->rows : tile.grid->block->columns;
  const Slots &slots = of_rows ? row_slots_ : column_slots_;
  const int64_t square = s + (of_rows ? tile.row : tile.column), count = rows_of(side, square);
  const int64_t slot_count = of_rows ? tile.columns : tile.rows, slot_squares = of_rows ? tile.rows : tile.columns;
  const auto add = [&](const float *values, double *totals) {
    for (int64_t k = 0; k < slot_count; ++k)
      for (int64_t r = 0; r < count; ++r) totals[r] += values[(k * slot_squares + s) * block_ + r];
  };
  add(slots.sum, side.softmax->sum + square * block_);
  if (sigmoid()) add(slots.slope, side.softmax->slope + square * block_);
  if (problem_.ranks) add(slots.above, side.softmax->above + square * block_);
}

bool PanelScheme::sums_are_safe() const {
  if ((shift_ == 0 && !pairs_.has_bias()) || sigmoid()) return true;
  for (int s = 0; s < passes_.softmax_count(); ++s)
    for (int64_t i = 0; i < passes_.rows(); ++i)
      if (passes_.softmaxes[s].sum[i] < kSmallestSum) return false;
  return true;
}

}  // namespace infonce::cpu

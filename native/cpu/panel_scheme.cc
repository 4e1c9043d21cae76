#include "cpu/panel_scheme.h"

#include "cpu/memory.h"

namespace infonce::cpu {
namespace {

constexpr int64_t kSmallBlock = 64, kLargeBlock = 128;
constexpr int64_t kSmallBlockRows = 2048;  // up to here 64-row blocks balance better; above, 128 halve the partial sums
constexpr int64_t kPanelBytes = int64_t(136) << 20;  // the triangle of N = 8192
constexpr int64_t kTileRows = 1024;                  // a tile that is computed again: 4 MB, stays in the outer cache
constexpr int64_t kPieceRows = 32;                   // the smallest share of a block that a gradient task takes
constexpr double kSafeLogit = 70;       // e^70 times a million rows, and its reciprocal, are normal float32 numbers
constexpr double kLargestLogit = 110;   // above, a constant shift loses too many rows and float32 too many digits
constexpr double kSmallestSum = 1e-26;  // e^-60: terms that were flushed to zero no longer matter beside it
constexpr double kLog2E = 1.4426950408889634;

}  // namespace

PanelScheme::PanelScheme(const Request &request, const Kernels &kernels, const Pairs &pairs, ThreadPool &pool)
    : request_(request),
      problem_(request.problem),
      kernels_(kernels),
      pairs_(pairs),
      pool_(pool),
      passes_(request, kernels, pairs, pool),
      scratch_(pool.threads()) {
  plan_tiles();
  find_pairs();
}

void PanelScheme::plan_tiles() {
  const bool one_tower = passes_.one_tower();
  const int64_t rows = passes_.rows_of(kAnchors);
  const int64_t columns = passes_.end_of(passes_.candidates());
  block_ = std::max(rows, columns) <= kSmallBlockRows ? kSmallBlock : kLargeBlock;
  row_blocks_ = blocks_of(rows, block_);
  column_blocks_ = blocks_of(columns, block_);
  // One tower's own columns, and those of its memory.
  const int64_t own_blocks = one_tower ? row_blocks_ : column_blocks_;
  const int64_t memory_block = passes_.has_memory() ? passes_.memory_first() / block_ : column_blocks_;
  const int64_t memory_blocks = column_blocks_ - memory_block;
  const int64_t all_blocks =
      (one_tower ? row_blocks_ * (row_blocks_ + 1) / 2 : row_blocks_ * own_blocks) + row_blocks_ * memory_blocks;
  const int64_t panel_floats = kPanelBytes / int64_t(sizeof(float));
  const bool all_kept = all_blocks * block_ * block_ <= panel_floats;
  tile_blocks_ = all_kept ? std::max(row_blocks_, column_blocks_) : kTileRows / block_;
  const int64_t tiles = blocks_of(row_blocks_, tile_blocks_) * (blocks_of(column_blocks_, tile_blocks_) + 1);
  require_memory(tiles * int64_t(sizeof(Tile)) + row_blocks_ * column_blocks_ / 8);
  for (int64_t p = 0; p < row_blocks_; p += tile_blocks_) {
    const int64_t height = std::min(tile_blocks_, row_blocks_ - p);
    for (int64_t q = one_tower ? p : 0; q < own_blocks; q += tile_blocks_)
      tiles_.push_back({p, q, height, std::min(tile_blocks_, own_blocks - q), one_tower && p == q, false, nullptr});
    for (int64_t q = memory_block; q < column_blocks_; q += tile_blocks_)
      tiles_.push_back({p, q, height, std::min(tile_blocks_, column_blocks_ - q), false, true, nullptr});
  }
}

int64_t PanelScheme::tables() const { return int64_t(tiles_.size() * sizeof(Tile)) + row_blocks_ * column_blocks_ / 8; }

void PanelScheme::find_pairs() {
  holds_pairs_.assign(row_blocks_ * column_blocks_, false);
  if (!passes_.one_tower() && !passes_.keys_are_candidates()) return;
  for (int64_t i = 0; i < passes_.rows_of(kAnchors); ++i)
    pairs_.for_each_partner(i, [&](int64_t j, bool) { holds_pairs_[i / block_ * column_blocks_ + j / block_] = true; });
}

void PanelScheme::take_scratch(Workspace::Cursor &cursor) {
  passes_.take_scratch(cursor);
  anchor_gradient_ = candidate_gradient_ = nullptr;
  const int64_t block_floats = block_ * block_, dim = passes_.padded_dim();
  const int64_t budget = kPanelBytes / int64_t(sizeof(float));
  panel_floats_ = scratch_floats_ = 0;
  // The last tiles of the first pass are kept: the gradient pass walks backwards and finds them in the cache.
  for (auto tile = tiles_.rbegin(); tile != tiles_.rend() && problem_.gradient; ++tile) {
    const int64_t size = tile->blocks() * block_floats;
    if (panel_floats_ + size <= budget) panel_floats_ += size;
    else scratch_floats_ = std::max(scratch_floats_, size);
  }
  panel_ = cursor.take<float>(panel_floats_);
  tile_scratch_ = cursor.take<float>(scratch_floats_);
  const int64_t slots = std::min(tile_blocks_, row_blocks_) * std::min(tile_blocks_, column_blocks_) * block_;
  const int64_t count_slots = problem_.ranks ? slots : 0;
  row_slots_ = {cursor.take<float>(slots), cursor.take<float>(count_slots)};
  const bool column_sums = passes_.has_columns() || (passes_.one_tower() && tiles_.size() > 1);
  if (column_sums) column_slots_ = {cursor.take<float>(slots), cursor.take<float>(count_slots)};
  no_weight_ = cursor.take<float>(passes_.padded_rows_of(passes_.candidates()));
  if (problem_.gradient && tiles_.size() > 1) {
    anchor_gradient_ = cursor.take<float>(row_blocks_ * block_ * dim);
    if (!passes_.one_tower() && has_column_gradient(tiles_[0]))
      candidate_gradient_ = cursor.take<float>(column_blocks_ * block_ * dim);
  }
  for (ThreadScratch &scratch : scratch_) {
    scratch.block = cursor.take<float>(block_floats);
    scratch.statistics = cursor.take<float>(block_ * kernels_.single.panel);
    scratch.pack = cursor.take<float>(kGradientScratch);
    scratch.accumulators = cursor.take<float>(block_ * dim);
  }
}

void PanelScheme::place_tiles() {
  float *next = panel_, *end = panel_ + panel_floats_;
  for (auto tile = tiles_.rbegin(); tile != tiles_.rend(); ++tile) {
    const int64_t size = tile->blocks() * block_ * block_;
    const bool fits = end - next >= size;
    tile->kept = fits ? next : nullptr;
    if (fits) next += size;
  }
}

float *PanelScheme::block_of(const Tile &tile, int64_t i, int64_t j) const {
  return (tile.kept ? tile.kept : tile_scratch_) + tile.index(i, j) * block_ * block_;
}

int64_t PanelScheme::rows_of(int64_t padded_rows, int64_t block) const {
  return std::min(block_, padded_rows - block * block_);
}

bool PanelScheme::can_hold(double largest_logit) { return largest_logit <= kLargestLogit * (1 + 1e-6); }

bool PanelScheme::surely_holds(double largest_logit) { return largest_logit <= kSafeLogit * (1 - 1e-6); }

Outcome PanelScheme::forward(infonce_result *result) {
  if (const BadRow bad = passes_.prepare(); bad.row >= 0) return {true, bad};
  constexpr Outcome kCannot{false};
  if (!can_hold(passes_.largest_logit())) return kCannot;
  place_tiles();
  shift_ = std::max(0.0, passes_.largest_logit() - kSafeLogit);
  passes_.rank();
  passes_.sum_large_classes();
  if (passes_.has_tight_class()) return kCannot;
  const int64_t padded_rows = passes_.padded_rows_of(kAnchors);
  for (Direction<float> *direction : {&passes_.rows, &passes_.columns}) {
    if (!direction->sum) continue;
    std::fill(direction->sum, direction->sum + padded_rows, 0.0);
    std::fill(direction->offset, direction->offset + padded_rows, shift_);
  }
  if (tiles_.size() == 1) {
    compute_tile(tiles_[0], true);
    // A block's losses at once with its sums: one meeting of the threads less.
    pool_.parallel(row_blocks_, [&](int64_t b, int thread) {
      add_statistics(tiles_[0], true, b);
      if (passes_.has_columns()) add_statistics(tiles_[0], false, b);
      passes_.losses(b * block_, rows_of(padded_rows, b), thread);
    });
  } else {
    for (const Tile &tile : tiles_) {
      compute_tile(tile, true);
      add_statistics(tile);
    }
    passes_.losses();
  }
  if (!sums_are_safe()) return kCannot;
  passes_.write_losses(result);
  panel_is_filled_ = problem_.gradient != 0;
  return {};
}

void PanelScheme::resume() {
  place_tiles();
  panel_is_filled_ = false;
  passes_.resume();
}

void PanelScheme::compute_tile(const Tile &tile, bool statistics) {
  pool_.parallel(tile.blocks(), [&](int64_t index, int thread) {
    int64_t i = 0, j = 0;
    if (tile.on_diagonal) {
      while (index >= tile.index(i, tile.row_blocks - 1) + 1) ++i;
      j = i + index - tile.index(i, i);
    } else {
      i = index / tile.column_blocks;
      j = index % tile.column_blocks;
    }
    compute_block(tile, i, j, statistics, thread);
  });
}

void PanelScheme::compute_block(const Tile &tile, int64_t i, int64_t j, bool statistics, int thread) {
  const bool one_tower = passes_.one_tower();
  const int64_t row_block = tile.row_block + i, column_block = tile.column_block + j;
  LogitsBlock block{};
  block.rows = &passes_.operand(kAnchors, thread);
  block.columns = &passes_.operand(passes_.candidates(), thread);
  block.first_row = row_block * block_;
  block.first_column = column_block * block_;
  block.row_count = int(rows_of(block.rows->padded_rows, row_block));
  block.column_count = int(rows_of(block.columns->padded_rows, column_block));
  block.scale = float(problem_.scale * kLog2E);
  block.shift = float(shift_ * kLog2E);
  const int64_t row_end = block.first_row + block.row_count, column_end = block.first_column + block.column_count;
  const bool padding =
      row_end > passes_.rows_of(kAnchors) || column_end > passes_.end_of_part(passes_.candidates(), block.first_column);
  const bool diagonal = one_tower && row_block == column_block;
  block.masked = padding || diagonal || holds_pairs_[row_block * column_blocks_ + column_block];
  block.row_group = pairs_.anchor_groups();
  block.column_group = pairs_.candidate_groups();
  block.row_rank = passes_.rows.rank;
  block.column_rank = one_tower ? passes_.rows.rank : passes_.columns.rank;
  block.exponentials = problem_.gradient ? block_of(tile, i, j) : scratch_[thread].block;
  block.stride = int(block_);
  block.scratch = scratch_[thread].statistics;
  if (statistics) {
    const int64_t row_slot = (j * tile.row_blocks + i) * block_, column_slot = (i * tile.column_blocks + j) * block_;
    block.row_sum = row_slots_.sum + row_slot;
    if (problem_.ranks) block.row_above = row_slots_.above + row_slot;
    // Within a diagonal tile both kinds are sums of the same rows.
    const Slots &slots = tile.on_diagonal ? row_slots_ : column_slots_;
    if ((one_tower && !diagonal && !tile.of_memory) || passes_.has_columns()) {
      block.column_sum = slots.sum + column_slot;
      if (problem_.ranks) block.column_above = slots.above + column_slot;
    }
  }
  kernels_.logits_block(block);
}

void PanelScheme::add_statistics(const Tile &tile) {
  const bool columns_too = passes_.has_columns() || (passes_.one_tower() && !tile.on_diagonal && !tile.of_memory);
  pool_.parallel(tile.row_blocks + (columns_too ? tile.column_blocks : 0), [&](int64_t owner, int) {
    const bool of_rows = owner < tile.row_blocks;
    add_statistics(tile, of_rows, of_rows ? owner : owner - tile.row_blocks);
  });
}

void PanelScheme::add_statistics(const Tile &tile, bool of_rows, int64_t b) {
  const Direction<float> &direction = of_rows || passes_.one_tower() ? passes_.rows : passes_.columns;
  const Slots &slots = of_rows ? row_slots_ : column_slots_;
  const int64_t block = b + (of_rows ? tile.row_block : tile.column_block);
  const int64_t count = rows_of(passes_.padded_rows_of(kAnchors), block);
  const int64_t slot_count = of_rows ? tile.column_blocks : tile.row_blocks;
  const int64_t slot_blocks = of_rows ? tile.row_blocks : tile.column_blocks;
  const auto add = [&](const float *values, double *totals) {
    for (int64_t s = 0; s < slot_count; ++s)
      for (int64_t r = 0; r < count; ++r) totals[r] += values[(s * slot_blocks + b) * block_ + r];
  };
  add(slots.sum, direction.sum + block * block_);
  if (problem_.ranks) add(slots.above, direction.above + block * block_);
}

bool PanelScheme::sums_are_safe() const {
  if (shift_ == 0) return true;
  for (const Direction<float> *direction : {&passes_.rows, &passes_.columns})
    for (int64_t i = 0; direction->sum && i < passes_.rows_of(kAnchors); ++i)
      if (direction->sum[i] < kSmallestSum) return false;
  return true;
}

void PanelScheme::backward(infonce_result *result) {
  radial_.assign(blocks_of(passes_.rows_of(kAnchors), kPieceRows), 0.0);
  memory_radial_.assign(radial_.size(), 0.0);
  accumulate_tiles(result);
  double along = 0, with_memory = 0;
  for (size_t piece = 0; piece < radial_.size(); ++piece) along += radial_[piece], with_memory += memory_radial_[piece];
  result->scalars.grad_scale = passes_.grad_scale(along, with_memory);
}

void PanelScheme::accumulate_tiles(infonce_result *result) {
  const Tower candidates = passes_.candidates();
  std::fill(no_weight_, no_weight_ + passes_.padded_rows_of(candidates), 0.0f);
  for (auto tile = tiles_.rbegin(); tile != tiles_.rend(); ++tile) {
    if (!tile->kept || !panel_is_filled_) compute_tile(*tile, false);
    accumulate_owners(*tile, result);
    // The tiles of a memory come before those of the anchors' own.
    if (tile->of_memory && tile->column_block * block_ == passes_.memory_first()) finish_memory(*tile);
  }
  if (tiles_.size() > 1) {
    finish_all(kAnchors, anchor_gradient_, passes_.gradient_of(kAnchors, *result));
    if (candidate_gradient_) finish_all(candidates, candidate_gradient_, passes_.gradient_of(candidates, *result));
  }
  if (candidates != kNegatives) return;
  // The own keys are in no matrix: all they get comes from their one pair.
  pool_.parallel(row_blocks_, [&](int64_t b, int thread) {
    float *accumulators = scratch_[thread].accumulators;
    std::fill(accumulators, accumulators + block_ * passes_.padded_dim(), 0.0f);
    finish(kKeys, b * block_, (b + 1) * block_, accumulators, passes_.gradient_of(kKeys, *result), thread);
  });
}

void PanelScheme::accumulate_owners(const Tile &tile, infonce_result *result) {
  const bool one_tower = passes_.one_tower(), single = tiles_.size() == 1;
  const std::vector<Owner> owners = owners_of(tile);
  pool_.parallel(int64_t(owners.size()), [&](int64_t task, int thread) {
    const Owner &owner = owners[task];
    const Tower tower = owner.of_rows ? kAnchors : passes_.candidates();
    const int64_t block = owner.block + (owner.of_rows ? tile.row_block : tile.column_block);
    const int64_t first = block * block_ + owner.offset;
    // Tiles come last to first: the first to touch a block of rows is the last of its row or column of tiles.
    const bool first_touch = owner.of_rows ? tile.column_block + tile.column_blocks == column_blocks_
                                           : !one_tower && tile.row_block + tile.row_blocks == row_blocks_;
    float *accumulators = single ? scratch_[thread].accumulators
                                 : (tower == kAnchors ? anchor_gradient_ : candidate_gradient_) +
                                       block * block_ * passes_.padded_dim() + owner.offset * kernels_.single.panel;
    accumulate_owner(tile, owner, accumulators, !first_touch, thread);
    if (single) finish(tower, first, first + owner.count, accumulators, passes_.gradient_of(tower, *result), thread);
  });
}

// What the accumulators of the tile's rows hold by now comes from the memory alone.
void PanelScheme::finish_memory(const Tile &tile) {
  pool_.parallel(tile.row_blocks, [&](int64_t b, int thread) {
    const int64_t block = tile.row_block + b, first = block * block_;
    const int64_t end = std::min(first + block_, passes_.rows_of(kAnchors));
    float *accumulators = anchor_gradient_ + first * passes_.padded_dim();
    for (int64_t piece = first; piece < end; piece += kPieceRows)
      memory_radial_[piece / kPieceRows] =
          passes_.finish_memory(piece, std::min(kPieceRows, end - piece),
                                accumulators + (piece - first) * kernels_.single.panel, block_, thread);
  });
}

void PanelScheme::finish_all(Tower tower, float *accumulators, float *output) {
  pool_.parallel(blocks_of(passes_.rows_of(tower), block_), [&](int64_t b, int thread) {
    finish(tower, b * block_, (b + 1) * block_, accumulators + b * block_ * passes_.padded_dim(), output, thread);
  });
}

void PanelScheme::finish(Tower tower, int64_t first, int64_t end, float *accumulators, float *output, int thread) {
  end = std::min(end, passes_.rows_of(tower));
  for (int64_t piece = first; piece < end; piece += kPieceRows) {
    const double along = passes_.finish(tower, piece, std::min(kPieceRows, end - piece),
                                        accumulators + (piece - first) * kernels_.single.panel, block_, output, thread);
    if (tower == kAnchors) radial_[piece / kPieceRows] = along;
  }
}

// Beside that of its rows.
bool PanelScheme::has_column_gradient(const Tile &tile) const {
  const Tower candidates = passes_.candidates();
  const bool wanted = candidates != kNegatives || request_.wants(passes_.matrix_of(candidates));
  return !tile.on_diagonal && !tile.of_memory && wanted;
}

// Blocks in order, the middle ones in pieces: threads start from both ends and meet there, and small tasks let them end
// together.
std::vector<PanelScheme::Owner> PanelScheme::owners_of(const Tile &tile) const {
  std::vector<Owner> blocks, owners;
  for (const bool of_rows : {true, false}) {
    if (!of_rows && !has_column_gradient(tile)) break;
    const int64_t padded_rows = passes_.padded_rows_of(of_rows ? kAnchors : passes_.candidates());
    const int64_t first = of_rows ? tile.row_block : tile.column_block;
    for (int64_t b = 0; b < (of_rows ? tile.row_blocks : tile.column_blocks); ++b)
      blocks.push_back({of_rows, b, 0, rows_of(padded_rows, first + b)});
  }
  const int64_t count = int64_t(blocks.size());
  const int64_t split = pool_.threads() > 1 ? std::min<int64_t>(count, 2 * pool_.threads()) : 0;
  for (int64_t k = 0; k < count; ++k) {
    const bool whole = k < (count - split) / 2 || k >= (count + split) / 2;
    const int64_t piece = whole ? blocks[k].count : kPieceRows;
    for (int64_t offset = 0; offset < blocks[k].count; offset += piece)
      owners.push_back({blocks[k].of_rows, blocks[k].block, offset, piece});
  }
  return owners;
}

void PanelScheme::accumulate_owner(const Tile &tile, const Owner &owner, float *accumulators, bool started,
                                   int thread) {
  // In a diagonal tile the blocks left of the diagonal are stored as their mirror images.
  const int64_t diagonal = tile.on_diagonal ? owner.block : 0;
  if (tile.on_diagonal) started = accumulate(tile, owner, true, 0, diagonal, accumulators, started, thread);
  if (owner.of_rows) accumulate(tile, owner, false, diagonal, tile.column_blocks, accumulators, started, thread);
  else accumulate(tile, owner, true, 0, tile.row_blocks, accumulators, started, thread);
}

// Adds what blocks first ... end of the other side give, as many at a time as fill a gradient panel. Returns whether the
// accumulators hold something.
bool PanelScheme::accumulate(const Tile &tile, const Owner &owner, bool blocks_are_transposed, int64_t first,
                             int64_t end, float *accumulators, bool started, int thread) {
  const Operand<float> &other = passes_.operand(owner.of_rows ? passes_.candidates() : kAnchors, thread);
  const float *row_weight = passes_.rows.weight;
  const float *column_weight = passes_.one_tower()     ? row_weight
                               : passes_.has_columns() ? passes_.columns.weight
                                                       : no_weight_;
  const int64_t owner_block = (owner.of_rows ? tile.row_block : tile.column_block) + owner.block;
  // The other side of a transposed block is its rows, also when the owner is one of the tile's row blocks.
  const int64_t other_side = blocks_are_transposed ? tile.row_block : tile.column_block;
  const int64_t step = kGradientDepth / block_;
  const float *blocks[2][kGradientDepth / kSmallBlock];  // of this panel and of the next, in turn
  const auto find = [&](int64_t k, const float **found) {
    const int64_t count = std::max<int64_t>(0, std::min(step, end - k));
    for (int64_t s = 0; s < count; ++s)
      found[s] = blocks_are_transposed ? block_of(tile, k + s, owner.block) + owner.offset
                                       : block_of(tile, owner.block, k + s) + owner.offset * block_;
    return int(count);
  };
  GradientPanel panel{};
  panel.block_rows = panel.stride = int(block_);
  panel.owner_is_row = !blocks_are_transposed;
  panel.owner_count = int(owner.count);
  panel.owner_weight = (owner.of_rows ? row_weight : column_weight) + owner_block * block_ + owner.offset;
  const bool classes = pairs_.has_large_classes();
  if (classes) {
    panel.owner_class = pairs_.large_classes() + owner_block * block_ + owner.offset;
    panel.owner_target = passes_.rows.target + owner_block * block_ + owner.offset;
  }
  panel.other = &other;
  panel.accumulators = accumulators;
  panel.accumulator_rows = block_;
  panel.scratch = scratch_[thread].pack;
  panel.next_count = find(first, blocks[0]);
  for (int64_t k = first, turn = 0; k < end && !pool_.cancelled(); k += step, turn ^= 1) {
    panel.exponentials = blocks[turn];
    panel.block_count = panel.next_count;
    panel.next = blocks[turn ^ 1];
    panel.next_count = find(k + step, blocks[turn ^ 1]);
    panel.other_first = (other_side + k) * block_;
    panel.other_count = int(std::min(panel.block_count * block_, other.padded_rows - panel.other_first));
    panel.other_weight = (owner.of_rows ? column_weight : row_weight) + panel.other_first;
    if (classes) {
      panel.other_class = pairs_.large_classes() + panel.other_first;
      panel.other_target = passes_.rows.target + panel.other_first;
    }
    panel.accumulate = started;
    kernels_.gradient_panel(panel);
    started = true;
  }
  return started;
}

}  // namespace infonce::cpu

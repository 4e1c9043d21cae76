#include "cpu/panel_scheme.h"

namespace infonce::cpu {
namespace {

constexpr int64_t kSmallBlock = 64, kLargeBlock = 128;
constexpr int64_t kSmallBlockRows = 2048;  // up to here 64-row blocks balance better; above, 128 halve the partial sums
constexpr int64_t kPanelBytes = int64_t(136) << 20;  // the triangle of N = 8192
constexpr int64_t kTileRows = 1024;  // a tile that is computed again: 4 MB, stays in the outer cache
constexpr double kSafeLogit = 70;    // e^70 times a million rows, and its reciprocal, are normal float32 numbers
constexpr double kLargestLogit = 110;  // above, a constant shift loses too many rows and float32 too many digits
constexpr double kSmallestSum = 1e-26;  // e^-60: terms that were flushed to zero no longer matter beside it
constexpr double kLog2E = 1.4426950408889634;

}  // namespace

PanelScheme::PanelScheme(const infonce_problem &problem, const Kernels &kernels, const Pairs &pairs, ThreadPool &pool,
                         Workspace &workspace)
    : problem_(problem),
      kernels_(kernels),
      pairs_(pairs),
      pool_(pool),
      passes_(problem, kernels.single, pairs, pool),
      scratch_(pool.threads()) {
  plan_tiles();
  find_pairs();
  workspace.lay_out([&](Workspace::Cursor &cursor) { take(cursor); });
  place_tiles();
}

void PanelScheme::plan_tiles() {
  const bool one_tower = passes_.one_tower();
  const int64_t rows = problem_.rows;
  const int64_t columns = one_tower || passes_.keys_are_candidates() ? rows : problem_.negative_rows;
  block_ = std::max(rows, columns) <= kSmallBlockRows ? kSmallBlock : kLargeBlock;
  row_blocks_ = blocks_of(rows, block_);
  column_blocks_ = blocks_of(columns, block_);
  const int64_t block_floats = block_ * block_;
  const int64_t all_blocks = one_tower ? row_blocks_ * (row_blocks_ + 1) / 2 : row_blocks_ * column_blocks_;
  const int64_t panel_floats = kPanelBytes / int64_t(sizeof(float));
  const bool all_kept = all_blocks * block_floats <= panel_floats;
  tile_blocks_ = all_kept ? std::max(row_blocks_, column_blocks_) : kTileRows / block_;
  for (int64_t p = 0; p < row_blocks_; p += tile_blocks_)
    for (int64_t q = one_tower ? p : 0; q < column_blocks_; q += tile_blocks_)
      tiles_.push_back({p, q, std::min(tile_blocks_, row_blocks_ - p), std::min(tile_blocks_, column_blocks_ - q),
                        one_tower && p == q, nullptr});
}

void PanelScheme::find_pairs() {
  holds_pairs_.assign(row_blocks_ * column_blocks_, false);
  if (!passes_.one_tower() && !passes_.keys_are_candidates()) return;
  for (int64_t i = 0; i < problem_.rows; ++i)
    pairs_.for_each_partner(i, [&](int64_t j, bool) { holds_pairs_[i / block_ * column_blocks_ + j / block_] = true; });
}

void PanelScheme::take(Workspace::Cursor &cursor) {
  passes_.take(cursor, kernels_.bfloat16);
  const int64_t block_floats = block_ * block_, dim = passes_.anchors.padded_dim;
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
  const int64_t slots = tile_blocks_ * tile_blocks_ * block_;
  row_slots_ = {cursor.take<float>(slots), cursor.take<float>(slots)};
  column_slots_ = {cursor.take<float>(slots), cursor.take<float>(slots)};
  no_weight_ = cursor.take<float>(passes_.candidates().padded_rows);
  if (problem_.gradient && tiles_.size() > 1) {
    anchor_gradient_ = cursor.take<float>(row_blocks_ * block_ * dim);
    if (!passes_.one_tower()) candidate_gradient_ = cursor.take<float>(column_blocks_ * block_ * dim);
  }
  for (ThreadScratch &scratch : scratch_) {
    scratch.block = cursor.take<float>(block_floats);
    scratch.statistics = cursor.take<float>(2 * block_ * kernels_.single.panel);
    scratch.pack = cursor.take<float>(kGradientScratch);
    scratch.accumulators = cursor.take<float>(block_ * dim);
  }
}

void PanelScheme::place_tiles() {
  float *next = panel_, *end = panel_ + panel_floats_;
  for (auto tile = tiles_.rbegin(); tile != tiles_.rend(); ++tile) {
    const int64_t size = tile->blocks() * block_ * block_;
    if (end - next < size) continue;
    tile->kept = next;
    next += size;
  }
}

float *PanelScheme::block_of(const Tile &tile, int64_t i, int64_t j) const {
  return (tile.kept ? tile.kept : tile_scratch_) + tile.index(i, j) * block_ * block_;
}

int64_t PanelScheme::rows_of(int64_t padded_rows, int64_t block) const {
  return std::min(block_, padded_rows - block * block_);
}

bool PanelScheme::can_hold(double largest_logit) { return largest_logit <= kLargestLogit * (1 + 1e-6); }

bool PanelScheme::run(infonce_result *result) {
  shift_ = std::max(0.0, passes_.largest_logit() - kSafeLogit);
  passes_.rank();
  passes_.sum_large_classes();
  const int64_t anchors = passes_.anchors.padded_rows;
  for (Direction<float> *direction : {&passes_.rows, &passes_.columns}) {
    if (!direction->owner) continue;
    std::fill(direction->sum, direction->sum + anchors, 0.0);
    std::fill(direction->offset, direction->offset + anchors, shift_);
  }
  for (const Tile &tile : tiles_) {
    compute_tile(tile, true);
    add_statistics(tile);
  }
  if (!sums_are_safe()) return false;
  passes_.losses();
  passes_.write_losses(result);
  if (problem_.gradient) result->grad_scale = passes_.grad_scale(accumulate_tiles(result));
  return true;
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
  block.rows = &passes_.anchors;
  block.columns = &passes_.candidates();
  block.first_row = row_block * block_;
  block.first_column = column_block * block_;
  block.row_count = int(rows_of(block.rows->padded_rows, row_block));
  block.column_count = int(rows_of(block.columns->padded_rows, column_block));
  block.scale = float(problem_.scale * kLog2E);
  block.shift = float(shift_ * kLog2E);
  const int64_t row_end = block.first_row + block.row_count, column_end = block.first_column + block.column_count;
  const bool padding = row_end > block.rows->rows || column_end > block.columns->rows;
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
    const int64_t tile_rows = tile_blocks_ * block_;
    const int64_t row_slot = j * tile_rows + i * block_, column_slot = i * tile_rows + j * block_;
    block.row_sum = row_slots_.sum + row_slot;
    block.row_above = row_slots_.above + row_slot;
    // Within a diagonal tile both kinds are sums of the same rows.
    const Slots &slots = tile.on_diagonal ? row_slots_ : column_slots_;
    if ((one_tower && !diagonal) || problem_.both_directions) {
      block.column_sum = slots.sum + column_slot;
      block.column_above = slots.above + column_slot;
    }
  }
  kernels_.logits_block(block);
}

void PanelScheme::add_statistics(const Tile &tile) {
  const bool columns_too = problem_.both_directions || (passes_.one_tower() && !tile.on_diagonal);
  Direction<float> &column_direction = passes_.one_tower() ? passes_.rows : passes_.columns;
  const int64_t owners = tile.row_blocks + (columns_too ? tile.column_blocks : 0);
  pool_.parallel(owners, [&](int64_t owner, int) {
    const bool of_rows = owner < tile.row_blocks;
    const int64_t b = of_rows ? owner : owner - tile.row_blocks;
    const Slots &slots = of_rows ? row_slots_ : column_slots_;
    const Direction<float> &direction = of_rows ? passes_.rows : column_direction;
    const int64_t first = (of_rows ? tile.row_block + b : tile.column_block + b) * block_;
    const int64_t count = rows_of(direction.owner->padded_rows, first / block_);
    const int64_t slot_count = of_rows ? tile.column_blocks : tile.row_blocks;
    for (int64_t s = 0; s < slot_count; ++s) {
      const float *sum = slots.sum + (s * tile_blocks_ + b) * block_;
      const float *above = slots.above + (s * tile_blocks_ + b) * block_;
      for (int64_t r = 0; r < count; ++r) {
        direction.sum[first + r] += sum[r];
        direction.above[first + r] += above[r];
      }
    }
  });
}

bool PanelScheme::sums_are_safe() const {
  if (shift_ == 0) return true;
  for (const Direction<float> *direction : {&passes_.rows, &passes_.columns})
    for (int64_t i = 0; direction->owner && i < direction->owner->rows; ++i)
      if (direction->sum[i] < kSmallestSum) return false;
  return true;
}

double PanelScheme::accumulate_tiles(infonce_result *result) {
  const Operand<float> &anchors = passes_.anchors, &candidates = passes_.candidates();
  const bool one_tower = passes_.one_tower();
  const int64_t dim = anchors.padded_dim;
  std::fill(no_weight_, no_weight_ + candidates.padded_rows, 0.0f);
  std::vector<double> radial(row_blocks_, 0.0);
  float *candidate_output = passes_.keys_are_candidates() ? result->grad_keys : result->grad_negatives;

  const auto finish = [&](bool of_anchors, int64_t b, float *accumulators) {
    const Operand<float> &tower = of_anchors ? anchors : candidates;
    const int64_t first = b * block_, count = std::min(block_, tower.rows - first);
    const double along = passes_.finish(tower, first, count, accumulators, block_,
                                        of_anchors ? result->grad_anchors : candidate_output);
    if (of_anchors) radial[b] = along;
  };

  const bool single = tiles_.size() == 1;
  for (auto tile = tiles_.rbegin(); tile != tiles_.rend(); ++tile) {
    if (!tile->kept) compute_tile(*tile, false);
    const bool columns_too = !tile->on_diagonal;
    pool_.parallel(tile->row_blocks + (columns_too ? tile->column_blocks : 0), [&](int64_t owner, int thread) {
      const bool of_rows = owner < tile->row_blocks;
      const int64_t b = of_rows ? owner : owner - tile->row_blocks;
      const int64_t block = b + (of_rows ? tile->row_block : tile->column_block);
      // Tiles come last to first: the first to touch a block of rows is the last of its row or column of tiles.
      const bool first_touch = of_rows ? tile->column_block + tile->column_blocks == column_blocks_
                               : !one_tower && tile->row_block + tile->row_blocks == row_blocks_;
      float *gradient = of_rows || one_tower ? anchor_gradient_ : candidate_gradient_;
      float *accumulators = single ? scratch_[thread].accumulators : gradient + block * block_ * dim;
      if (of_rows) accumulate_rows(*tile, b, accumulators, !first_touch, thread);
      else accumulate_columns(*tile, b, accumulators, !first_touch, thread);
      if (single) finish(of_rows, block, accumulators);
    });
  }
  if (!single) {
    pool_.parallel(row_blocks_, [&](int64_t b, int) { finish(true, b, anchor_gradient_ + b * block_ * dim); });
    if (!one_tower)
      pool_.parallel(column_blocks_, [&](int64_t b, int) { finish(false, b, candidate_gradient_ + b * block_ * dim); });
  }
  if (problem_.negatives) {
    // The own keys are in no matrix: all they get comes from their one pair.
    pool_.parallel(row_blocks_, [&](int64_t b, int thread) {
      const int64_t first = b * block_, count = std::min(block_, problem_.rows - first);
      std::fill(scratch_[thread].accumulators, scratch_[thread].accumulators + block_ * dim, 0.0f);
      passes_.finish(passes_.keys, first, count, scratch_[thread].accumulators, block_, result->grad_keys);
    });
  }
  double total = 0;
  for (const double along : radial) total += along;
  return total;
}

void PanelScheme::accumulate_rows(const Tile &tile, int64_t b, float *accumulators, bool accumulate_at_first, int thread) {
  bool started = accumulate_at_first;
  // In a diagonal tile the blocks left of the diagonal are stored as their mirror images.
  if (tile.on_diagonal) accumulate(tile, b, true, true, 0, b, accumulators, &started, thread);
  accumulate(tile, b, true, false, tile.on_diagonal ? b : 0, tile.column_blocks, accumulators, &started, thread);
}

void PanelScheme::accumulate_columns(const Tile &tile, int64_t b, float *accumulators, bool accumulate_at_first, int thread) {
  bool started = accumulate_at_first;
  accumulate(tile, b, false, true, 0, tile.row_blocks, accumulators, &started, thread);
}

// Blocks first ... end of the other side, as many at a time as fill a gradient panel.
void PanelScheme::accumulate(const Tile &tile, int64_t owner_block, bool owner_is_row, bool blocks_are_transposed,
                             int64_t first, int64_t end, float *accumulators, bool *started, int thread) {
  const bool one_tower = passes_.one_tower();
  const Operand<float> &owner = owner_is_row ? passes_.anchors : passes_.candidates();
  const Operand<float> &other = owner_is_row ? passes_.candidates() : passes_.anchors;
  const float *row_weight = passes_.rows.weight;
  const float *column_weight = one_tower ? row_weight : problem_.both_directions ? passes_.columns.weight : no_weight_;
  const int64_t owner_first = (owner_is_row ? tile.row_block : tile.column_block) + owner_block;
  // The other side of a transposed block is its rows, also when the owner is one of the tile's row blocks.
  const int64_t other_side = blocks_are_transposed ? tile.row_block : tile.column_block;
  const int64_t step = kGradientDepth / block_;
  const float *blocks[2][kGradientDepth / kSmallBlock];  // of this panel and of the next, in turn
  const auto find = [&](int64_t k, const float **found) {
    const int64_t count = std::max<int64_t>(0, std::min(step, end - k));
    for (int64_t s = 0; s < count; ++s)
      found[s] = blocks_are_transposed ? block_of(tile, k + s, owner_block) : block_of(tile, owner_block, k + s);
    return int(count);
  };
  GradientPanel panel{};
  panel.block_rows = panel.stride = int(block_);
  panel.owner_is_row = !blocks_are_transposed;
  panel.owner_count = int(rows_of(owner.padded_rows, owner_first));
  panel.owner_weight = (owner_is_row ? row_weight : column_weight) + owner_first * block_;
  panel.other = &other;
  panel.accumulators = accumulators;
  panel.accumulator_rows = block_;
  panel.scratch = scratch_[thread].pack;
  panel.next_count = find(first, blocks[0]);
  for (int64_t k = first, turn = 0; k < end; k += step, turn ^= 1) {
    panel.exponentials = blocks[turn];
    panel.block_count = panel.next_count;
    panel.next = blocks[turn ^ 1];
    panel.next_count = find(k + step, blocks[turn ^ 1]);
    panel.other_first = (other_side + k) * block_;
    panel.other_count = int(std::min(panel.block_count * block_, other.padded_rows - panel.other_first));
    panel.other_weight = (owner_is_row ? column_weight : row_weight) + panel.other_first;
    panel.accumulate = *started;
    kernels_.gradient_panel(panel);
    *started = true;
  }
}

}  // namespace infonce::cpu

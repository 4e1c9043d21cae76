#include "cuda/choice.h"

#include <algorithm>

namespace infonce::cuda {
namespace {

constexpr double kSafeLogit = 70;         // e^70 times a million rows, and its reciprocal, are normal float32 numbers
constexpr double kLargestLogit = 110;     // above, float32 has too few digits for a logit of level 'highest'
constexpr double kLargestOfLevels = 1e6;  // above, for the difference of two logits at the levels below

int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// Large classes need the level above: within a class p - 1 / positives cancels.
Planes planes_for(infonce_precision precision, bool has_large_classes) {
  if (precision == INFONCE_PRECISION_MEDIUM) return has_large_classes ? Planes::kHigh : Planes::kMedium;
  if (precision == INFONCE_PRECISION_HIGH) return has_large_classes ? Planes::kHighest : Planes::kHigh;
  return Planes::kHighest;
}

// The tiles of compute capability 9.0 are large: below, few multiprocessors would have one.
const Architecture &architecture_for(int64_t anchors, int64_t most_rows, const Hardware &hardware) {
  constexpr int64_t kLeastLogits = int64_t(2048) * 2048;
  const bool is_sm90 = hardware.sm90 == UseOfSm90::kAlways ||
                       (hardware.sm90 == UseOfSm90::kWhereFaster && anchors * most_rows >= kLeastLogits);
  return is_sm90 ? Architecture::sm90() : Architecture::sm80();
}

std::vector<Block> blocks_of(const infonce_problem &problem, const Roles &roles) {
  const auto tower_of = [&](int matrix) {
    return matrix == roles.anchors ? kAnchors : matrix == roles.keys ? kKeys : kNegatives;
  };
  std::vector<Block> blocks;
  for (int b = 0; b < problem.block_count && !roles.own_negatives(); ++b) {
    const infonce_block &block = problem.blocks[b];
    blocks.push_back({tower_of(block.anchors), tower_of(block.candidates), block.row_softmax, block.column_softmax});
  }
  return blocks;
}

// Columns turned into rows of a block of their own, but where they are those rows already.
std::vector<Block> row_blocks_of(const std::vector<Block> &blocks) {
  std::vector<Block> row_blocks;
  for (const Block &block : blocks) {
    row_blocks.push_back({block.rows, block.columns, block.row_softmax, kNoSoftmax});
    if (block.column_softmax != kNoSoftmax && block.rows != block.columns)
      row_blocks.push_back({block.columns, block.rows, block.column_softmax, kNoSoftmax});
  }
  return row_blocks;
}

void choose_scheme(const infonce_problem &problem, bool has_large_classes, Choice *choice) {
  choice->largest_logit = choice->planes == Planes::kHighest ? kLargestLogit : kLargestOfLevels;
  if (problem.normalize) {
    choice->online = problem.scale > kSafeLogit;
    choice->in_float32 = problem.scale <= choice->largest_logit * (1 + 1e-6);
    choice->in_float64 = !choice->in_float32 || has_large_classes;
  } else {
    choice->online = choice->in_float64 = true;
  }
}

// Returns the padded dimension.
int64_t choose_gradient(const infonce_problem &problem, const Roles &roles, int64_t most_rows, const Hardware &hardware,
                        Choice *choice) {
  constexpr int64_t kMostRowsOfHigh = 8 * kMostColumnsOfHigh;  // beyond, too many splits
  const int64_t padded_dim = round_up(problem.dim, kDimMultiple);
  if (!choice->in_float32 || choice->online || !problem.gradient) return padded_dim;
  const int64_t register_dim = padded_dim <= 128 ? padded_dim : 256;
  const Architecture &architecture = *choice->architecture;
  choice->in_registers = padded_dim <= 256 &&
                         architecture.gradient_in_registers(hardware, choice->planes, register_dim) &&
                         (choice->planes == Planes::kMedium || most_rows <= kMostRowsOfHigh);
  choice->flash = choice->in_registers && architecture.has_flash() && !roles.one_tower() && !roles.both_directions;
  return choice->in_registers ? register_dim : padded_dim;
}

void plan_sweeps(const Hardware &hardware, Choice *choice) {
  const Architecture &architecture = *choice->architecture;
  const Tower *towers = choice->towers;
  const int64_t padded_dim = towers[kAnchors].padded_dim;
  if (choice->flash && !choice->blocks.empty()) {
    choice->flash_splits = architecture.plan_splits(hardware, choice->planes, towers[kAnchors].rows,
                                                    towers[choice->blocks[0].columns].rows, padded_dim);
    return;
  }
  for (const Block &block : choice->online ? choice->row_blocks : choice->blocks) {
    const bool triangular = block.rows == block.columns && !choice->online;
    choice->sweeps.push_back({block, triangular,
                              architecture.plan_sweep(hardware, choice->planes, choice->shape, towers[block.rows].rows,
                                                      towers[block.columns].rows, padded_dim, triangular)});
  }
}

}  // namespace

int64_t Choice::longest_rows() const {
  int64_t longest = 0;
  for (const Tower &tower : towers) longest = std::max(longest, tower.padded_rows);
  return longest;
}

Choice choose(const infonce_problem &problem, const Roles &roles, infonce_precision precision, bool has_large_classes,
              const Hardware &hardware) {
  const infonce_matrix &anchors = problem.matrices[roles.anchors];
  const int64_t most_rows = std::max(anchors.rows, negatives_of_anchor(problem, roles));
  Choice choice;
  choice.blocks = blocks_of(problem, roles);
  choice.row_blocks = row_blocks_of(choice.blocks);
  choice.planes = planes_for(precision, has_large_classes);
  choice.architecture = &architecture_for(anchors.rows, most_rows, hardware);
  choose_scheme(problem, has_large_classes, &choice);
  const int64_t padded_dim = choose_gradient(problem, roles, most_rows, hardware, &choice);
  choice.shape = choice.architecture->shape_of_tiles(hardware, choice.planes, choice.online, padded_dim);
  for (const TowerName name : {kAnchors, kKeys, kNegatives}) {
    Tower &tower = choice.towers[name];
    const int matrix = matrix_of(roles, name);
    if (name == kNegatives) tower.rows = negatives_of_anchor(problem, roles);
    else if (matrix >= 0) tower.rows = problem.matrices[matrix].rows;
    tower.views = 1;
    tower.dim = problem.dim;
    tower.padded_dim = padded_dim;
    tower.padded_rows = round_up(tower.rows, kRowMultiple);
    tower.normalize = problem.normalize != 0;
  }
  if (roles.one_tower() && problem.softmaxes[0].positive != INFONCE_POSITIVE_SAME_ID)
    choice.towers[kAnchors].views = anchors.views;
  if (choice.in_float32) plan_sweeps(hardware, &choice);
  return choice;
}

std::vector<TowerGradient> plan_gradients(const Choice &choice, uint32_t wanted, bool in_float32,
                                          const Hardware &hardware) {
  std::vector<TowerGradient> gradients;
  if (choice.blocks.empty()) return gradients;
  const auto is_wanted = [&](TowerName tower) { return (wanted >> tower & 1) != 0; };
  const Architecture &architecture = *choice.architecture;
  const TowerName candidates = choice.blocks[0].columns;
  const bool one_tower = candidates == kAnchors;
  const bool through_panel = in_float32 && !choice.in_registers;
  // Weights are written once for both.
  const bool one_panel = through_panel && architecture.panels_serve_columns() && !one_tower && is_wanted(candidates);

  const auto plan_part = [&](GradientPart *part) {
    const Tower &rows = choice.towers[part->block.rows], &columns = choice.towers[part->block.columns];
    if (choice.in_registers) {
      const bool is_done = choice.flash && part->block.rows == kAnchors;  // by the statistics
      part->splits =
          is_done ? 1 : architecture.plan_splits(hardware, choice.planes, rows.rows, columns.rows, rows.padded_dim);
      return;
    }
    const PanelUse use = part->block.rows == part->block.columns ? PanelUse::kTriangle
                         : one_tower                             ? PanelUse::kRows
                         : one_panel                             ? PanelUse::kRowsAndColumns
                                                                 : PanelUse::kRowsOfBoth;
    part->panel =
        architecture.plan_panel(hardware, choice.planes, choice.shape, use, rows.rows, columns.rows, rows.padded_dim);
    part->splits = part->panel.splits;
  };
  for (const TowerName tower : {kAnchors, kNegatives, kKeys}) {
    if (!is_wanted(tower)) continue;
    TowerGradient gradient{tower, {}, one_panel && tower == candidates};
    for (const Block &block : choice.blocks) {
      if (block.rows == tower) gradient.parts.push_back({block});
      else if (block.columns == tower)
        gradient.parts.push_back({{block.columns, block.rows, block.column_softmax, block.row_softmax}});
    }
    for (GradientPart &part : gradient.parts) {
      if (gradient.from_columns) part.splits = gradients[0].parts[0].splits;
      else if (in_float32) plan_part(&part);
    }
    gradients.push_back(std::move(gradient));
  }
  return gradients;
}

}  // namespace infonce::cuda

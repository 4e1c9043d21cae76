#include "cuda/choice.h"

#include <algorithm>

#include "common/constants.h"
#include "cuda/classes.h"

namespace infonce::cuda {
namespace {

constexpr int64_t kMostRowsOfHigh = 8 * kMostColumnsOfHigh;  // beyond, a gradient in registers has too many splits
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

// Own candidates are for no tile, and a matrix without rows has nothing to add, nor one whose rows meet parts alone.
std::vector<Block> blocks_of(const infonce_problem &problem) {
  std::vector<Block> blocks;
  for (int b = 0; b < problem.block_count; ++b) {
    const infonce_block &block = problem.blocks[b];
    if (problem.matrices[block.candidates].rows > 0 && block.own != INFONCE_OWN_ALONE && !block.meets_parts_alone)
      blocks.push_back({block.anchors, block.candidates, block.row_softmax, block.column_softmax,
                        block.left_out | (tells_own(block) ? uint32_t(INFONCE_LEAVE_OUT_OWN) : 0),
                        scale_of(problem, block)});
  }
  return blocks;
}

// Columns turned into rows of a block of their own, but where they are those rows already.
std::vector<Block> row_blocks_of(const std::vector<Block> &blocks) {
  std::vector<Block> row_blocks;
  for (const Block &block : blocks) {
    row_blocks.push_back({block.rows, block.columns, block.row_softmax, kNone, block.left_out, block.scale});
    if (block.column_softmax != kNone && !block.is_triangle())
      row_blocks.push_back({block.columns, block.rows, block.column_softmax, kNone, block.left_out, block.scale});
  }
  return row_blocks;
}

// Whether pairs are left out by threshold, have positives among those of equal id, or logits have biases. Pairs of equal id
// that are left out are no reason, except within one tower and where candidates come in parts.
bool is_masked(const infonce_problem &problem, bool opened) {
  for (int b = 0; b < problem.block_count; ++b) {
    const infonce_block &block = problem.blocks[b];
    const bool in_float64 = opened || is_triangle(block) || has_further_positives(block);
    if ((in_float64 && leaves_out_by_id(block)) || problem.matrices[block.candidates].bias) return true;
  }
  if (threshold_of(problem) || leaves_out_target(problem)) return true;
  const infonce_softmax &softmax = problem.softmaxes[0];
  return !positives_are_anchors(softmax) && problem.matrices[positives_elsewhere(softmax)].bias;
}

// Whether positives of the sigmoid loss are one for each row and candidate, or none.
bool has_positives_by_row(const infonce_problem &problem) {
  const infonce_block &block = problem.blocks[0];
  return problem.softmaxes[0].positive == INFONCE_POSITIVE_NONE ||
         (problem.softmaxes[0].positive == INFONCE_POSITIVE_SAME_INDEX &&
          problem.matrices[block.anchors].rows == problem.matrices[block.candidates].rows);
}

void choose_scheme(const infonce_problem &problem, bool has_large_classes, bool opened, Choice *choice) {
  const infonce_problem &whole = problem.share_of ? *problem.share_of : problem;
  choice->largest_logit = choice->planes == Planes::kHighest ? kLargestLogit : kLargestOfLevels;
  // Thresholds and biases are looked at row by row, sides joined, own candidates added to a row's sums, logits smoothed,
  // sigmoids of ids computed and two exponentials taken of each logit, which only the kernels in float64 do so far. And where
  // further candidates come, a constant shift has to be sure before they are seen; the running maximum in float64 holds any.
  const double scale = largest_scale(whole);
  const bool is_sure = problem.normalize && scale <= kSafeLogit;
  const infonce_softmax &softmax = whole.softmaxes[0];
  const bool has_parameters = softmax.label_smoothing != 0 || softmax.beta != 0;
  if (is_sigmoid(problem) && !opened && problem.normalize && has_positives_by_row(problem) &&
      problem.scale + std::fabs(problem.bias) <= choice->largest_logit) {
    choice->sigmoids = true;
  } else if (is_masked(whole, opened) || (opened && meets_by_id(whole)) || joins_sides(whole) || own_block_of(whole) ||
             (opened && !is_sure) || is_sigmoid(problem) || has_parameters) {
    choice->online = choice->in_float64 = true;
    choice->in_float32 = false;
  } else if (problem.normalize) {
    choice->online = scale > kSafeLogit;
    choice->in_float32 = scale <= choice->largest_logit * (1 + 1e-6);
    choice->in_float64 = !choice->in_float32 || has_large_classes;
  } else {
    choice->online = choice->in_float64 = true;
  }
}

// Whether tiles leave out pairs of equal id. What adds most up in registers has none for that.
bool has_ids(const Choice &choice) {
  return std::any_of(choice.blocks.begin(), choice.blocks.end(),
                     [](const Block &block) { return (block.left_out & INFONCE_LEAVE_OUT_SAME_ID) != 0; });
}

// Whether the gradient of rows padded to this dimension is computed in registers.
bool is_in_registers(const Choice &choice, int64_t padded_dim, int64_t most_rows, const Hardware &hardware) {
  return choice.in_float32 && choice.terms() == Terms::kExponentials &&
         padded_dim <= (has_ids(choice) ? kMostDimOfIds : 256) &&
         choice.architecture->gradient_in_registers(hardware, choice.planes, padded_dim) &&
         (choice.planes == Planes::kMedium || most_rows <= kMostRowsOfHigh);
}

// Returns the padded dimension.
int64_t choose_gradient(const infonce_problem &problem, int64_t most_rows, const Hardware &hardware, Choice *choice) {
  const int64_t padded_dim = round_up(problem.dim, kDimMultiple);
  const auto in_registers = [&](int64_t dim) { return is_in_registers(*choice, dim, most_rows, hardware); };
  const int64_t register_dim = padded_dim == 192 && !in_registers(192) ? 256 : padded_dim;
  choice->in_registers = problem.gradient && in_registers(register_dim);
  const std::vector<Block> &blocks = choice->blocks;
  const bool has_one_block_of_rows = blocks.size() == 1 && blocks[0].column_softmax == kNone;
  choice->flash =
      choice->in_registers && choice->architecture->has_flash() && has_one_block_of_rows && !has_ids(*choice);
  return choice->in_registers ? register_dim : padded_dim;
}

void plan_sweeps(const Hardware &hardware, Choice *choice) {
  const Architecture &architecture = *choice->architecture;
  const Tower *towers = choice->towers;
  const int64_t padded_dim = towers[choice->anchors].padded_dim;
  if (choice->flash) {
    const Block &block = choice->blocks[0];
    const int64_t rows = towers[block.rows].rows;
    const int of_block = architecture.gradient_blocks(hardware, choice->planes, padded_dim).rows;
    choice->flash_splits =
        architecture.plan_splits(hardware, choice->planes, rows, towers[block.columns].rows, padded_dim);
    choice->flash_rows = tiles_of(rows, of_block) * of_block;
    return;
  }
  const bool has_columns = choice->terms() == Terms::kExponentials;
  for (const Block &block : has_columns ? choice->blocks : choice->row_blocks) {
    const bool triangular = block.is_triangle() && has_columns;
    choice->sweeps.push_back({block, triangular,
                              architecture.plan_sweep(hardware, choice->planes, choice->shape, towers[block.rows].rows,
                                                      towers[block.columns].rows, padded_dim, triangular)});
  }
}

Tower tower_of(const infonce_matrix &matrix, const infonce_problem &problem, int64_t padded_dim) {
  Tower tower{};
  tower.rows = matrix.rows;
  tower.views = 1;
  tower.dim = problem.dim;
  tower.padded_dim = padded_dim;
  tower.padded_rows = round_up(matrix.rows, kRowMultiple);
  tower.normalize = problem.normalize != 0;
  return tower;
}

}  // namespace

int64_t Choice::longest_rows() const {
  int64_t longest = 0;
  for (const Tower &tower : towers) longest = std::max(longest, tower.padded_rows);
  return longest;
}

bool Choice::has_triangle() const {
  return std::any_of(blocks.begin(), blocks.end(),
                     [&](const Block &block) { return block.is_triangle() && block.rows == anchors; });
}

Choice choose(const infonce_problem &problem, infonce_precision precision, bool has_large_classes,
              const Hardware &hardware, bool opened) {
  const infonce_softmax &softmax = problem.softmaxes[0];
  const infonce_matrix &anchors = problem.matrices[softmax.anchors];
  // What an anchor sees of each matrix.
  std::vector<infonce_matrix> matrices(problem.matrices, problem.matrices + problem.matrix_count);
  const int own = own_candidates_of(problem);
  if (own != kNone) matrices[own].rows /= anchors.rows;
  int64_t most_rows = anchors.rows;
  for (int b = 0; b < problem.block_count; ++b)
    most_rows = std::max(most_rows, matrices[problem.blocks[b].candidates].rows);

  Choice choice;
  choice.anchors = softmax.anchors;
  choice.own = own;
  choice.scale = problem.scale;
  choice.joins_sides = joins_sides(problem);
  choice.opened = opened;
  choice.meets_by_id = opened && meets_by_id(problem);
  if (!choice.meets_by_id) choice.memory = memory_of(problem);
  if (!positives_are_anchors(softmax)) choice.keys = positives_elsewhere(softmax);
  choice.blocks = blocks_of(problem);
  choice.row_blocks = row_blocks_of(choice.blocks);
  choice.planes = planes_for(precision, has_large_classes);
  choice.architecture = &architecture_for(anchors.rows, most_rows, hardware);
  choose_scheme(problem, has_large_classes, opened, &choice);
  const int64_t padded_dim = choose_gradient(problem, most_rows, hardware, &choice);
  choice.shape = choice.architecture->shape_of_tiles(hardware, choice.planes, choice.terms(), padded_dim);
  for (int m = 0; m < problem.matrix_count; ++m) choice.towers[m] = tower_of(matrices[m], problem, padded_dim);
  const bool by_view =
      softmax.positive == INFONCE_POSITIVE_FIRST_VIEW || softmax.positive == INFONCE_POSITIVE_ALL_VIEWS;
  if (by_view) choice.towers[choice.anchors].views = anchors.views;
  if (choice.in_float32) plan_sweeps(hardware, &choice);
  return choice;
}

int matrix_for_part(const infonce_block &block) {
  if (!is_triangle(block)) return block.candidates;
  return block.anchors == 0 ? 1 : 0;
}

Choice choose_for_part(const Choice &opened, const infonce_block &block, int64_t rows, int64_t anchors, int columns,
                       const Hardware &hardware) {
  Choice choice = opened;
  choice.keys = choice.memory = kNone;  // a part holds no positives
  choice.anchors = block.anchors;
  for (Tower &tower : choice.towers)
    if (&tower != &choice.towers[choice.anchors]) tower = {};
  Tower &of_anchors = choice.towers[choice.anchors];
  const int matrix = matrix_for_part(block);
  Tower &tower = choice.towers[matrix];
  tower = of_anchors;
  const auto set_rows = [](Tower &of, int64_t count) {
    of.views = 1;
    of.rows = count;
    of.padded_rows = round_up(count, kRowMultiple);
  };
  set_rows(tower, rows);
  if (anchors != of_anchors.rows) set_rows(of_anchors, anchors);
  // None of them is an anchor's own.
  const uint32_t left_out = block.left_out & ~uint32_t(INFONCE_LEAVE_OUT_OWN);
  choice.blocks = {{block.anchors, matrix, block.row_softmax, columns, left_out, choice.scale + block.stretch}};
  choice.row_blocks = row_blocks_of(choice.blocks);
  choice.architecture = &architecture_for(anchors, rows, hardware);
  choice.in_registers = is_in_registers(choice, tower.padded_dim, rows, hardware);
  choice.shape = choice.architecture->shape_of_tiles(hardware, choice.planes, choice.terms(), tower.padded_dim);
  choice.flash = false;
  choice.flash_splits = choice.flash_rows = 0;
  choice.sweeps.clear();
  if (choice.in_float32) plan_sweeps(hardware, &choice);
  return choice;
}

namespace {

// Any matrix may be either side of several blocks.
std::vector<MatrixGradient> plan_joined(const Choice &choice, uint32_t wanted) {
  std::vector<MatrixGradient> gradients;
  const auto plan = [&](int matrix) {
    if (!(wanted >> matrix & 1) || choice.rows(matrix) == 0) return;
    MatrixGradient of{matrix, {}};
    for (const Block &block : choice.blocks) {
      const Block other = {block.columns,     block.rows,     block.column_softmax,
                           block.row_softmax, block.left_out, block.scale};
      if (block.rows == matrix) of.parts.insert(block.is_triangle() ? of.parts.begin() : of.parts.end(), {block});
      else if (block.columns == matrix) of.parts.push_back({other});
    }
    gradients.push_back(of);
  };
  plan(choice.anchors);
  for (int m = 0; m < INFONCE_MOST_MATRICES; ++m)
    if (m != choice.anchors) plan(m);
  return gradients;
}

}  // namespace

std::vector<MatrixGradient> plan_gradients(const Choice &choice, uint32_t wanted, bool in_float32,
                                           const Hardware &hardware) {
  if (choice.joins_sides) return plan_joined(choice, wanted);
  std::vector<MatrixGradient> gradients;
  const auto is_wanted = [&](int matrix) { return (wanted >> matrix & 1) != 0; };
  const Architecture &architecture = *choice.architecture;
  const bool through_panel = in_float32 && !choice.in_registers;
  // Weights are written once for both.
  const auto has_one_panel = [&](const Block &block) {
    return through_panel && architecture.panels_serve_columns() && !block.is_triangle() && is_wanted(block.columns);
  };

  const auto plan_part = [&](GradientPart *part) {
    const Block &block = part->block;
    const Tower &rows = choice.towers[block.rows], &columns = choice.towers[block.columns];
    if (choice.in_registers) {
      const bool is_done = choice.flash && block.rows == choice.anchors;  // by the statistics
      part->splits =
          is_done ? 1 : architecture.plan_splits(hardware, choice.planes, rows.rows, columns.rows, rows.padded_dim);
      return;
    }
    const PanelUse use = block.is_triangle()              ? PanelUse::kTriangle
                         : block.columns == choice.memory ? PanelUse::kRows
                         : has_one_panel(block)           ? PanelUse::kRowsAndColumns
                                                          : PanelUse::kRowsOfBoth;
    part->panel =
        architecture.plan_panel(hardware, choice.planes, choice.shape, use, rows.rows, columns.rows, rows.padded_dim);
    part->splits = part->panel.splits;
  };

  MatrixGradient of_anchors{choice.anchors, {}};
  for (const Block &block : choice.blocks)
    of_anchors.parts.insert(block.is_triangle() ? of_anchors.parts.begin() : of_anchors.parts.end(), {block});
  int64_t of_columns = 0;
  for (GradientPart &part : of_anchors.parts) {
    if (in_float32) plan_part(&part);
    part.of_columns = of_columns;
    if (has_one_panel(part.block)) of_columns += part.splits * choice.towers[part.block.columns].plane_size();
  }
  uint32_t planned = uint32_t(1) << choice.anchors;
  if (is_wanted(choice.anchors)) gradients.push_back(of_anchors);
  for (const GradientPart &of_rows : of_anchors.parts) {
    const Block &block = of_rows.block;
    planned |= uint32_t(1) << block.columns;
    if (block.is_triangle() || !is_wanted(block.columns)) continue;
    GradientPart part{
        {block.columns, block.rows, block.column_softmax, block.row_softmax, block.left_out, block.scale}};
    const bool from_columns = has_one_panel(block);
    if (from_columns) part.splits = of_rows.splits, part.of_columns = of_rows.of_columns;
    else if (in_float32) plan_part(&part);
    gradients.push_back({block.columns, {part}, from_columns});
  }
  // Matrices of positives alone.
  for (int m = 0; m < INFONCE_MOST_MATRICES; ++m)
    if (is_wanted(m) && !(planned >> m & 1) && choice.rows(m) > 0) gradients.push_back({m, {}});
  return gradients;
}

}  // namespace infonce::cuda

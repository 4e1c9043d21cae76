// The form of a problem, its blocks and softmaxes: which forms are computed, and the questions of backends about one.
#pragma once

#include <cstdint>

#include "infonce/infonce.h"

namespace infonce {

constexpr int kNone = -1;  // no matrix, no softmax

// Positives are rows of the anchors' own matrix (and perhaps of a memory), else rows of another one, one each.
inline bool positives_are_anchors(const infonce_softmax &softmax) {
  return softmax.positive <= INFONCE_POSITIVE_SAME_ID;
}

// The matrix other than its anchors in which a softmax has positives, or kNone.
int positives_elsewhere(const infonce_softmax &softmax);

// A memory: positives by id that have neither a loss nor a gradient of their own. Or kNone.
inline int memory_of(const infonce_problem &problem) {
  const infonce_softmax &softmax = problem.softmaxes[0];
  return positives_are_anchors(softmax) ? positives_elsewhere(softmax) : kNone;
}

// The matrix of first positives that are rows of other calls, or kNone.
inline int first_positives_in(const infonce_problem &problem) {
  const infonce_softmax &softmax = problem.softmaxes[0];
  return softmax.first_positives ? softmax.first_positives_in : kNone;
}

// The block with candidates of an anchor's own, or null; and their matrix if no other anchor sees them, or kNone.
const infonce_block *own_block_of(const infonce_problem &problem);
int own_candidates_of(const infonce_problem &problem);

// Every anchor has candidates of its own, and no others.
inline bool has_own_candidates_alone(const infonce_problem &problem) {
  return problem.block_count == 1 && problem.blocks[0].own == INFONCE_OWN_ALONE;
}

// The factor that makes a block's dot products logits.
inline double scale_of(const infonce_problem &problem, const infonce_block &block) {
  return problem.scale + block.stretch;
}
// The same of an anchor and its own candidates.
inline double own_scale_of(const infonce_problem &problem, const infonce_block &block) {
  return problem.scale + (block.own == INFONCE_OWN_AMONG ? block.own_stretch : block.stretch);
}
// The largest of the former among the blocks that all anchors share.
double largest_scale(const infonce_problem &problem);

// Whether a block leaves out pairs of equal id, and whether they are further positives.
inline bool leaves_out_by_id(const infonce_block &block) {
  return (block.left_out & (INFONCE_LEAVE_OUT_SAME_ID | INFONCE_LEAVE_OUT_SAME_ID_POSITIVE)) != 0;
}
inline bool has_further_positives(const infonce_block &block) {
  return (block.left_out & INFONCE_LEAVE_OUT_SAME_ID_POSITIVE) != 0;
}
bool has_further_positives(const infonce_problem &problem);
// Whether columns of the block that feed a softmax may be positives of the anchors by id; and whether a softmax has such.
inline bool columns_have_positives(const infonce_problem &problem, const infonce_block &block) {
  const bool by_id = problem.softmaxes[0].positive == INFONCE_POSITIVE_SAME_ID || has_further_positives(block);
  return block.column_softmax != kNone && by_id;
}
// Whether rows of parts of the block may be positives of the anchors by label.
inline bool has_positives_by_label(const infonce_problem &problem, const infonce_block &block) {
  return problem.softmaxes[0].positive == INFONCE_POSITIVE_SAME_ID &&
         (block.column_softmax != kNone || block.candidates == memory_of(problem));
}
inline bool travels_with_positives(const infonce_problem &problem, int softmax) {
  for (int b = 0; b < problem.block_count; ++b)
    if (problem.blocks[b].column_softmax == softmax && columns_have_positives(problem, problem.blocks[b])) return true;
  return false;
}

// Whether rows of the matrix are the candidates of a block.
inline bool are_candidates(const infonce_problem &problem, int matrix) {
  for (int b = 0; b < problem.block_count; ++b)
    if (problem.blocks[b].candidates == matrix) return true;
  return false;
}

// Whether any candidates have biases.
bool has_bias(const infonce_problem &problem);

// The block whose threshold all blocks share that have one, or null.
const infonce_block *threshold_of(const infonce_problem &problem);
inline bool has_guides(const infonce_problem &problem) { return problem.guide_dim != 0; }

// Elements from one row of a matrix to the next.
inline int64_t row_stride_of(const infonce_matrix &matrix, int64_t dim) {
  return matrix.row_stride == 0 ? dim : matrix.row_stride;
}

// A matrix's guide as one.
inline infonce_matrix guide_of(const infonce_matrix &matrix) {
  infonce_matrix guide{};
  guide.data = matrix.guide;
  guide.type = matrix.guide_type;
  guide.residence = matrix.guide_residence;
  guide.rows = matrix.rows;
  guide.views = 1;
  return guide;
}

// Rows of a matrix meet parts, and not each other.
inline bool meets_parts_alone(const infonce_problem &problem) { return problem.blocks[0].meets_parts_alone != 0; }

inline bool is_triangle(const infonce_block &block) { return block.anchors == block.candidates; }

// Whether the pairs of a row and its own candidates, row j being row j % rows's, are not among the block's others.
inline bool tells_own(const infonce_block &block) {
  return block.own == INFONCE_OWN_AMONG || (block.left_out & INFONCE_LEAVE_OUT_OWN) != 0;
}

// Whether anchors' positives, which are elsewhere, are left out of a block by their number.
inline bool leaves_out_target(const infonce_block &block) { return (block.left_out & INFONCE_LEAVE_OUT_TARGET) != 0; }
inline bool leaves_out_target(const infonce_problem &problem) {
  for (int b = 0; b < problem.block_count; ++b)
    if (leaves_out_target(problem.blocks[b])) return true;
  return false;
}

// Whether the columns of a block feed a softmax.
inline bool has_columns(const infonce_problem &problem) {
  for (int b = 0; b < problem.block_count; ++b)
    if (problem.blocks[b].column_softmax != kNone) return true;
  return false;
}

// Whether rows of other matrices than the first softmax's anchors, or columns beside the rows, add to a row's sums.
bool joins_sides(const infonce_problem &problem);
// Whether a block has none of the first softmax's anchors.
bool has_block_beside_anchors(const infonce_problem &problem);
// The number of times that a row's positive by index is in its sum.
int multiplicity_of_positive(const infonce_problem &problem, int softmax);

// Pairs have losses of their own, without a softmax.
inline bool is_sigmoid(const infonce_problem &problem) {
  return problem.softmaxes[0].row_loss == INFONCE_ROW_LOSS_SIGMOID;
}

// Its positives are the rows of equal id, wherever they are.
inline bool positives_are_elsewhere_by_id(const infonce_problem &problem) {
  return problem.softmaxes[0].positive == INFONCE_POSITIVE_SAME_ID_ELSEWHERE;
}

// Anchors of a softmax.
inline int64_t rows_of(const infonce_problem &problem, int softmax) {
  return problem.matrices[problem.softmaxes[softmax].anchors].rows;
}

// Says why a problem of this form is not computed; else null. Of arrays it sees only whether they are there, and of
// no sizes.
const char *what_is_wrong_with_form(const infonce_problem &problem);

}  // namespace infonce

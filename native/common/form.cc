#include "common/form.h"

#include <algorithm>
#include <cmath>

namespace infonce {
namespace {

uint32_t bit_of(int matrix) { return uint32_t(1) << matrix; }

// Of the row loss.
const char *wrong_parameters(const infonce_problem &p, const infonce_softmax &softmax) {
  constexpr double kMostMargin = 1e30;
  if (!(std::fabs(softmax.margin) <= kMostMargin)) return "margin is out of range";
  if (softmax.margin != 0 && positives_are_anchors(softmax)) return "a margin is for positives by index";
  const bool is_debiased = softmax.row_loss == INFONCE_ROW_LOSS_DEBIASED;
  if (!(softmax.tau_plus >= 0 && softmax.tau_plus < 1)) return "tau_plus must be at least 0 and below 1";
  constexpr double kMostBeta = 1e3;
  if (!(softmax.beta >= 0 && softmax.beta <= kMostBeta)) return "beta is out of range";
  if (softmax.beta != 0 && !is_debiased) return "beta is for debiased losses";
  if (softmax.tau_plus != 0 && !is_debiased) return "tau_plus is for debiased losses";
  if (softmax.negatives != 0 && !is_debiased) return "a number of negatives is for debiased losses";
  const bool has_views = softmax.positive <= INFONCE_POSITIVE_ALL_VIEWS;
  if (is_debiased && (!has_views || p.block_count > 1 || leaves_out_by_id(p.blocks[0])))
    return "a debiased loss is that of one matrix with two views";
  const double sigma = softmax.mises_fisher_sigma;
  constexpr double kLeastSigma = 1e-30, kMostSigma = 1e30;
  if (sigma != 0 && !(sigma >= kLeastSigma && sigma <= kMostSigma)) return "mises_fisher_sigma is out of range";
  if (sigma != 0 && (softmax.row_loss != INFONCE_ROW_LOSS_DECOUPLED || !has_views))
    return "weights of positives are for decoupled losses of two views";
  if (!(softmax.label_smoothing >= 0 && softmax.label_smoothing < 1))
    return "label_smoothing must be at least 0 and below 1";
  if (softmax.further_candidates < 0 || (softmax.further_candidates > 0 && softmax.label_smoothing == 0))
    return "further_candidates must be at least 0, and 0 without label smoothing";
  if (softmax.label_smoothing == 0) return nullptr;
  if (softmax.row_loss != INFONCE_ROW_LOSS_CROSS_ENTROPY) return "label smoothing is for cross-entropy";
  for (int b = 0; b < p.block_count; ++b)
    if (p.blocks[b].own || p.blocks[b].threshold || leaves_out_by_id(p.blocks[b]))
      return "label smoothing is for candidates that all rows have";
  return nullptr;
}

// Those in other calls.
const char *wrong_first_positives(const infonce_problem &p, const infonce_softmax &softmax) {
  if (softmax.positive != INFONCE_POSITIVE_SAME_ID || !p.ranks)
    return "first positives in other calls are for ranks of positives by id";
  const int matrix = softmax.first_positives_in;
  bool is_used = matrix < 0 || matrix >= p.matrix_count || matrix == softmax.anchors;
  is_used = is_used || (softmax.positive_matrices >> matrix & 1) || p.matrices[matrix].bias;
  for (int b = 0; b < p.block_count; ++b) is_used |= p.blocks[b].anchors == matrix || p.blocks[b].candidates == matrix;
  return is_used ? "first positives in other calls are in a matrix of their own" : nullptr;
}

const char *wrong_softmax(const infonce_problem &p, int index) {
  const infonce_softmax &softmax = p.softmaxes[index];
  if (softmax.anchors < 0 || softmax.anchors >= p.matrix_count) return "a softmax of an unknown matrix";
  if (softmax.positive < INFONCE_POSITIVE_FIRST_VIEW || softmax.positive > INFONCE_POSITIVE_NONE)
    return "unknown positive rule";
  const bool sigmoid = softmax.row_loss == INFONCE_ROW_LOSS_SIGMOID;
  if ((softmax.row_loss < 0 || softmax.row_loss >= INFONCE_ROW_LOSSES) && !sigmoid) return "unknown row loss";
  if (softmax.positive > INFONCE_POSITIVE_TARGET && !sigmoid)
    return "positives by id in another matrix, or none, are for the sigmoid loss";
  if (softmax.weight != 1.0 / p.softmax_count) return "softmaxes have equal weights that add up to 1";
  const uint32_t known = bit_of(p.matrix_count) - 1, own = bit_of(softmax.anchors);
  const uint32_t elsewhere = softmax.positive_matrices & ~own;
  if (softmax.positive_matrices & ~known) return "positives in an unknown matrix";
  if (elsewhere & (elsewhere - 1)) return "positives are in one matrix beside the anchors' own at most";
  if (positives_are_anchors(softmax)) {
    if (!(softmax.positive_matrices & own)) return "positives by view or id are anchors, too";
    if (elsewhere && softmax.positive != INFONCE_POSITIVE_SAME_ID) return "only positives by id may be in a memory";
  } else if (softmax.positive_matrices != elsewhere || !elsewhere) {
    return "positives by index are in one other matrix";
  }
  if (const char *wrong = wrong_parameters(p, softmax)) return wrong;
  if (const char *wrong = softmax.first_positives ? wrong_first_positives(p, softmax) : nullptr) return wrong;
  if ((softmax.targets != nullptr) != (softmax.positive == INFONCE_POSITIVE_TARGET || leaves_out_target(p)))
    return "targets are for positives by target";
  if (index == 0) return nullptr;
  // Both directions of the same pairs.
  const infonce_softmax &first = p.softmaxes[0];
  const bool mirrored = first.positive == INFONCE_POSITIVE_SAME_INDEX && softmax.positive == first.positive &&
                        first.positive_matrices == own && softmax.positive_matrices == bit_of(first.anchors);
  if (softmax.row_loss != first.row_loss || softmax.margin != first.margin ||
      softmax.label_smoothing != first.label_smoothing)
    return "the two softmaxes have the same row loss";
  return mirrored ? nullptr : "a second softmax has the pairs of the first, the other way round";
}

const char *wrong_own_block(const infonce_problem &p, const infonce_block &block) {
  const infonce_softmax &softmax = p.softmaxes[0];
  if (block.anchors != softmax.anchors || block.row_softmax != 0)
    return "own candidates are those of the first softmax";
  if (is_triangle(block) || block.column_softmax >= 0 || block.left_out || p.matrices[block.candidates].bias ||
      (softmax.positive_matrices >> block.candidates & 1))
    return "candidates of an anchor's own are another matrix, without a softmax, a bias or positives";
  if (softmax.row_loss != INFONCE_ROW_LOSS_CROSS_ENTROPY || positives_are_anchors(softmax) ||
      ((p.block_count == 1 || block.own == INFONCE_OWN_AMONG) && softmax.positive != INFONCE_POSITIVE_SAME_INDEX))
    return "candidates of an anchor's own go with cross-entropy of positives by index";
  if (block.own == INFONCE_OWN_ALONE && has_block_beside_anchors(p))
    return "candidates that no other anchor sees go with blocks of the anchors";
  int own = 0;
  for (int b = 0; b < p.block_count; ++b) own += p.blocks[b].own != 0;
  return own > 1 ? "more than one block of candidates of an anchor's own" : nullptr;
}

const char *wrong_stretch(const infonce_problem &p, const infonce_block &block) {
  if (!(block.stretch >= 0 && scale_of(p, block) <= 1e30 && block.own_stretch >= 0 && own_scale_of(p, block) <= 1e30))
    return "stretch must be at least 0, and at most 1e30";
  if (block.own_stretch != 0 && block.own != INFONCE_OWN_AMONG) return "own_stretch requires INFONCE_OWN_AMONG";
  if (is_triangle(block) || block.column_softmax >= 0 || p.matrices[block.candidates].bias)
    return "stretched logits are of two matrices whose columns feed no softmax, without a bias";
  return p.softmaxes[0].row_loss == INFONCE_ROW_LOSS_CROSS_ENTROPY && !positives_are_anchors(p.softmaxes[0])
             ? nullptr
             : "stretch requires cross-entropy with positives by index";
}

// Positives by id beside those by index.
const char *wrong_further_positives(const infonce_problem &p) {
  const infonce_softmax &softmax = p.softmaxes[0];
  if (softmax.row_loss != INFONCE_ROW_LOSS_CROSS_ENTROPY || softmax.margin != 0 || softmax.label_smoothing != 0 ||
      (softmax.positive != INFONCE_POSITIVE_SAME_INDEX && softmax.positive != INFONCE_POSITIVE_TARGET))
    return "further positives go with cross-entropy of positives by index, without margin and smoothing";
  for (int b = 0; b < p.block_count; ++b)
    if (is_triangle(p.blocks[b]) || p.blocks[b].own || p.blocks[b].stretch != 0)
      return "further positives go with blocks of two matrices, without candidates of an anchor's own and stretches";
  return nullptr;
}

// Whether row i of a matrix stands for row i of a softmax.
bool is_side_of(const infonce_problem &p, int matrix, int softmax) {
  const infonce_softmax &of = p.softmaxes[softmax];
  return matrix == of.anchors || (of.positive == INFONCE_POSITIVE_SAME_INDEX && of.positive_matrices == bit_of(matrix));
}

const char *wrong_joined_sides(const infonce_problem &p) {
  for (int s = 0; s < p.softmax_count; ++s) {
    const infonce_softmax &softmax = p.softmaxes[s];
    if (softmax.row_loss != INFONCE_ROW_LOSS_CROSS_ENTROPY || softmax.positive != INFONCE_POSITIVE_SAME_INDEX)
      return "sides are joined in a cross-entropy of positives by index";
    if (softmax.label_smoothing != 0) return "joined sides are not smoothed";
  }
  for (int m = 0; m < p.matrix_count; ++m)
    if (p.matrices[m].bias) return "joined sides have no bias";
  if (has_further_positives(p)) return "joined sides have no further positives";
  if (threshold_of(p)) return "joined sides have no thresholds";
  return nullptr;
}

const char *wrong_threshold(const infonce_problem &p, const infonce_block &block) {
  const infonce_softmax &softmax = p.softmaxes[0];
  if (block.threshold < INFONCE_THRESHOLD_NONE || block.threshold > INFONCE_THRESHOLD_RELATIVE)
    return "unknown threshold";
  if (block.by_guide != 0 && block.by_guide != 1) return "by_guide must be 0 or 1";
  if (block.threshold == INFONCE_THRESHOLD_NONE)
    return block.by_guide || block.threshold_margin != 0 ? "a margin or a guide of no threshold" : nullptr;
  if (!(std::fabs(block.threshold_margin) <= 1e30)) return "threshold_margin is out of range";
  if (is_triangle(block) || block.column_softmax >= 0)
    return "thresholds are for two matrices whose columns feed no softmax";
  if (softmax.row_loss != INFONCE_ROW_LOSS_CROSS_ENTROPY || positives_are_anchors(softmax))
    return "thresholds go with cross-entropy of positives by index";
  if (has_further_positives(p)) return "thresholds do not go with further positives";
  const infonce_block &first = *threshold_of(p);
  if (block.threshold != first.threshold || block.by_guide != first.by_guide ||
      block.threshold_margin != first.threshold_margin)
    return "blocks with a threshold have the same one";
  return nullptr;
}

// Beside what single blocks say.
const char *wrong_guides(const infonce_problem &p) {
  const infonce_block *block = threshold_of(p);
  const bool by_guide = block && block->by_guide;
  if (by_guide != (p.guide_dim != 0)) return "guide_dim is for thresholds by guide";
  for (int m = 0; m < p.matrix_count; ++m)
    if ((p.matrices[m].guide != nullptr) != by_guide) return "by guide all matrices have one, else none";
  for (int b = 0; b < p.block_count && block; ++b) {
    if (!p.blocks[b].threshold) return "all blocks have a threshold, or none";
    if (p.blocks[b].own) return "thresholds do not go with an anchor's own candidates";
  }
  return nullptr;
}

// Of a block that leaves out by target.
const char *wrong_targets(const infonce_problem &p, const infonce_block &block) {
  const infonce_softmax &softmax = p.softmaxes[0];
  if (p.softmax_count > 1 || softmax.positive != INFONCE_POSITIVE_SAME_INDEX)
    return "targets are left out where each anchor has one positive, by index";
  if (block.own || (block.left_out & INFONCE_LEAVE_OUT_OWN) || is_side_of(p, block.candidates, 0))
    return "targets are left out of candidates that are neither positives nor an anchor's own";
  for (int b = 0; b < p.block_count; ++b)
    if (is_triangle(p.blocks[b]) || p.blocks[b].own == INFONCE_OWN_AMONG || joins_sides(p))
      return "targets are left out where queries look for keys alone";
  return nullptr;
}

const char *wrong_block(const infonce_problem &p, int index) {
  const infonce_block &block = p.blocks[index];
  if (block.anchors < 0 || block.anchors >= p.matrix_count || block.candidates < 0 ||
      block.candidates >= p.matrix_count)
    return "a block of an unknown matrix";
  if (block.row_softmax < 0 || block.row_softmax >= p.softmax_count || block.column_softmax < kNone ||
      block.column_softmax >= p.softmax_count)
    return "a block of an unknown softmax";
  constexpr uint32_t kById = INFONCE_LEAVE_OUT_SAME_ID | INFONCE_LEAVE_OUT_SAME_ID_POSITIVE;
  if ((block.left_out & ~(INFONCE_LEAVE_OUT_SAME_ROW | kById | INFONCE_LEAVE_OUT_OWN | INFONCE_LEAVE_OUT_TARGET)) ||
      (block.left_out & kById) == kById)
    return "unknown left_out";
  if (!is_side_of(p, block.anchors, block.row_softmax)) return "a block's rows are those of their softmax";
  if (is_triangle(block) && block.column_softmax != block.row_softmax)
    return "a matrix and itself have one softmax for rows and columns";
  if (is_triangle(block) != ((block.left_out & INFONCE_LEAVE_OUT_SAME_ROW) != 0))
    return "a matrix and itself, and nothing else, is left out by row";
  if (is_triangle(block) && p.softmaxes[0].positive == INFONCE_POSITIVE_TARGET)
    return "anchors with targets are no candidates of each other";
  if (block.column_softmax >= 0 && !is_side_of(p, block.candidates, block.column_softmax))
    return "a block's columns are the rows of their softmax";
  const infonce_matrix &candidates = p.matrices[block.candidates];
  if (candidates.bias && block.column_softmax >= 0) return "a bias is for candidates whose columns feed no softmax";
  if (leaves_out_by_id(block)) {
    if (!p.matrices[block.anchors].ids || !candidates.ids) return "ids are missing";
    if (p.softmaxes[block.row_softmax].positive == INFONCE_POSITIVE_SAME_ID)
      return "rows of equal id are positives or are left out";
  }
  if (const char *wrong = has_further_positives(block) ? wrong_further_positives(p) : nullptr) return wrong;
  if ((block.left_out & INFONCE_LEAVE_OUT_OWN) && (block.column_softmax >= 0 || is_side_of(p, block.candidates, 0)))
    return "own candidates that are left out are another matrix, without a softmax or positives";
  if (const char *wrong = leaves_out_target(block) ? wrong_targets(p, block) : nullptr) return wrong;
  if (block.own < INFONCE_OWN_NONE || block.own > INFONCE_OWN_AMONG) return "unknown own";
  if (const char *wrong = block.own ? wrong_own_block(p, block) : nullptr) return wrong;
  if (const char *wrong = block.stretch != 0 || block.own_stretch != 0 ? wrong_stretch(p, block) : nullptr)
    return wrong;
  if (const char *wrong = wrong_threshold(p, block)) return wrong;
  if (block.meets_parts_alone && (!is_triangle(block) || p.block_count > 1 || block.meets_parts_alone != 1 ||
                                  p.softmaxes[0].positive != INFONCE_POSITIVE_SAME_ID))
    return "rows meet parts alone in one block of a matrix and itself, with positives by id";
  for (int other = 0; other < index; ++other)
    if (p.blocks[other].anchors == block.anchors && p.blocks[other].candidates == block.candidates)
      return "two blocks of the same matrices";
  return nullptr;
}

const char *wrong_sigmoid(const infonce_problem &p) {
  const infonce_softmax &softmax = p.softmaxes[0];
  const infonce_block &block = p.blocks[0];
  if (p.matrix_count != 2 || p.block_count != 1 || p.softmax_count != 1 || is_triangle(block) || block.own ||
      block.column_softmax != kNone || block.left_out || p.matrices[block.candidates].bias)
    return "the sigmoid loss is of one block of two matrices, from which nothing is left out";
  if (softmax.positive != INFONCE_POSITIVE_SAME_INDEX && softmax.positive != INFONCE_POSITIVE_SAME_ID_ELSEWHERE &&
      softmax.positive != INFONCE_POSITIVE_NONE)
    return "positives of the sigmoid loss are those of the same index, of the same id, or none";
  return nullptr;
}

bool is_candidate(const infonce_problem &p, int matrix, int softmax) {
  for (int b = 0; b < p.block_count; ++b) {
    const infonce_block &block = p.blocks[b];
    if (block.candidates == matrix && block.row_softmax == softmax) return true;
    if (block.anchors == matrix && block.column_softmax == softmax) return true;
  }
  return false;
}

}  // namespace

int positives_elsewhere(const infonce_softmax &softmax) {
  for (int m = 0; m < INFONCE_MOST_MATRICES; ++m)
    if (m != softmax.anchors && (softmax.positive_matrices >> m & 1)) return m;
  return kNone;
}

const infonce_block *own_block_of(const infonce_problem &p) {
  for (int b = 0; b < p.block_count; ++b)
    if (p.blocks[b].own) return &p.blocks[b];
  return nullptr;
}

int own_candidates_of(const infonce_problem &p) {
  const infonce_block *own = own_block_of(p);
  return own && own->own == INFONCE_OWN_ALONE ? own->candidates : kNone;
}

bool has_further_positives(const infonce_problem &p) {
  for (int b = 0; b < p.block_count; ++b)
    if (has_further_positives(p.blocks[b])) return true;
  return false;
}

bool has_bias(const infonce_problem &p) {
  return std::any_of(p.matrices, p.matrices + p.matrix_count, [](const infonce_matrix &each) { return each.bias; });
}

const infonce_block *threshold_of(const infonce_problem &p) {
  for (int b = 0; b < p.block_count; ++b)
    if (p.blocks[b].threshold != INFONCE_THRESHOLD_NONE) return &p.blocks[b];
  return nullptr;
}

bool joins_sides(const infonce_problem &p) {
  for (int b = 0; b < p.block_count; ++b) {
    const infonce_block &block = p.blocks[b];
    const bool has_both_sides = !is_triangle(block) && block.column_softmax == block.row_softmax;
    if (has_both_sides || block.anchors != p.softmaxes[0].anchors || (block.left_out & INFONCE_LEAVE_OUT_OWN))
      return true;
  }
  return false;
}

bool has_block_beside_anchors(const infonce_problem &p) {
  const int anchors = p.softmaxes[0].anchors;
  for (int b = 0; b < p.block_count; ++b)
    if (p.blocks[b].anchors != anchors && p.blocks[b].candidates != anchors) return true;
  return false;
}

int multiplicity_of_positive(const infonce_problem &p, int index) {
  const infonce_softmax &softmax = p.softmaxes[index];
  int sides = 0;
  for (int b = 0; b < p.block_count && softmax.positive == INFONCE_POSITIVE_SAME_INDEX; ++b) {
    const infonce_block &block = p.blocks[b];
    if ((bit_of(block.anchors) | bit_of(block.candidates)) == (bit_of(softmax.anchors) | softmax.positive_matrices))
      sides += (block.row_softmax == index) + (block.column_softmax == index);
  }
  return std::max(sides, 1);
}

double largest_scale(const infonce_problem &p) {
  double largest = p.scale;
  for (int b = 0; b < p.block_count; ++b)
    if (p.blocks[b].own != INFONCE_OWN_ALONE) largest = std::max(largest, scale_of(p, p.blocks[b]));
  return largest;
}

const char *what_is_wrong_with_form(const infonce_problem &p) {
  if (p.matrix_count < 1 || p.matrix_count > INFONCE_MOST_MATRICES || p.block_count < 1 ||
      p.block_count > INFONCE_MOST_BLOCKS || p.softmax_count < 1 || p.softmax_count > INFONCE_MOST_SOFTMAXES)
    return "matrix_count, block_count or softmax_count is out of range";
  for (int s = 0; s < p.softmax_count; ++s)
    if (const char *wrong = wrong_softmax(p, s)) return wrong;
  for (int b = 0; b < p.block_count; ++b)
    if (const char *wrong = wrong_block(p, b)) return wrong;
  if (is_sigmoid(p))
    if (const char *wrong = wrong_sigmoid(p)) return wrong;
  if (joins_sides(p))
    if (const char *wrong = wrong_joined_sides(p)) return wrong;
  if (const char *wrong = wrong_guides(p)) return wrong;
  for (int s = 0; s < p.softmax_count; ++s) {
    const infonce_softmax &softmax = p.softmaxes[s];
    bool fed = false;
    for (int m = 0; m < p.matrix_count; ++m) fed |= is_candidate(p, m, s);
    if (!fed) return "a softmax without candidates";
    // Positives by view or id are found among the candidates.
    for (int m = 0; m < p.matrix_count && positives_are_anchors(softmax); ++m)
      if ((softmax.positive_matrices >> m & 1) && !is_candidate(p, m, s)) return "positives that are no candidates";
  }
  for (int m = 0; m < p.matrix_count; ++m) {
    bool used = m == first_positives_in(p);
    for (int s = 0; s < p.softmax_count; ++s)
      used |= p.softmaxes[s].anchors == m || (p.softmaxes[s].positive_matrices >> m & 1) || is_candidate(p, m, s);
    if (!used) return "a matrix that nothing uses";
    bool has_logits = (p.softmaxes[0].positive_matrices >> m & 1) != 0;
    for (int b = 0; b < p.block_count; ++b) has_logits |= p.blocks[b].candidates == m;
    if (p.matrices[m].bias && !has_logits) return "a bias of rows that are no candidates";
    if (p.matrices[m].counts && m != own_candidates_of(p)) return "counts are for candidates of an anchor's own";
  }
  return nullptr;
}

}  // namespace infonce

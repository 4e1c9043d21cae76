#include "group/smaller_side.h"

#include <algorithm>
#include <cmath>

#include "common/form.h"
#include "common/smoothing.h"
#include "group/numbers.h"

namespace infonce::group {
namespace {

// Whether anchors may visit any candidates: not in losses whose rows need more of their candidates than sums.
bool may_visit(const infonce_problem &p) {
  return std::all_of(p.softmaxes, p.softmaxes + p.softmax_count, [](const infonce_softmax &softmax) {
    const bool has_one_positive =
        softmax.positive == INFONCE_POSITIVE_SAME_INDEX || softmax.positive == INFONCE_POSITIVE_TARGET;
    const bool needs_sums =
        softmax.row_loss == INFONCE_ROW_LOSS_CROSS_ENTROPY || softmax.row_loss == INFONCE_ROW_LOSS_DECOUPLED;
    return has_one_positive && needs_sums;
  });
}

// Candidates of the anchors alone, none of which is a positive.
bool may_stay(const infonce_problem &p, int matrix) {
  bool is_candidate = false;
  for (int b = 0; b < p.block_count; ++b) {
    const infonce_block &block = p.blocks[b];
    if (block.anchors == matrix) return false;
    if (block.candidates != matrix) continue;
    if (block.anchors != p.softmaxes[0].anchors || block.row_softmax != 0 || block.column_softmax != kNone)
      return false;
    if (block.own == INFONCE_OWN_ALONE || has_further_positives(block)) return false;
    is_candidate = true;
  }
  for (int s = 0; s < p.softmax_count; ++s)
    if (p.softmaxes[s].anchors == matrix || (p.softmaxes[s].positive_matrices >> matrix & 1)) return false;
  return is_candidate;
}

// The bytes of a row and its guide on their way through the sums and the gradient; and with an id and a bias.
double number_bytes(const infonce_problem &p, int matrix) {
  const infonce_matrix &rows = p.matrices[matrix];
  const double of_guide = rows.guide ? double(p.guide_dim) * double(size_of(rows.guide_type)) : 0;
  return 2 * (double(p.dim) * double(size_of(rows.type)) + of_guide);
}
double row_bytes(const infonce_problem &p, int matrix) {
  const infonce_matrix &rows = p.matrices[matrix];
  return number_bytes(p, matrix) + 2 * double((rows.ids ? sizeof(int32_t) : 0) + (rows.bias ? sizeof(float) : 0));
}

// Those of a row of one tower with what it has of positives by id, for each hop beyond the first half.
double bytes_of_tower(const infonce_problem &p) {
  constexpr double kStatistics = 7 * sizeof(double) + 3 * sizeof(int32_t);
  return row_bytes(p, p.softmaxes[0].anchors) + double(p.dim) * sizeof(float) + kStatistics;
}

}  // namespace

bool visit_with_positives(const infonce_problem &problem) { return threshold_of(problem) != nullptr; }

uint32_t matrices_that_stay(const infonce_problem &p, const std::vector<Record> &records) {
  const auto rows_of_all = [&](int matrix) {
    double rows = 0;
    for (const Record &record : records) rows += double(record.rows[matrix]);
    return rows;
  };
  if (const int memory = memory_of(p); memory != kNone) {
    const double ranks = double(records.size()), further_hops = ranks - 1 - std::floor(ranks / 2);
    const double anchors = rows_of_all(p.softmaxes[0].anchors) * further_hops * bytes_of_tower(p);
    return anchors < (ranks - 1) * rows_of_all(memory) * row_bytes(p, memory) ? uint32_t(1) << memory : 0;
  }
  if (!may_visit(p)) return 0;
  uint32_t staying = 0;
  double candidates = 0;
  for (int m = 0; m < p.matrix_count; ++m) {
    if (!may_stay(p, m)) continue;
    staying |= uint32_t(1) << m;
    candidates += rows_of_all(m) * row_bytes(p, m);
  }
  // Their gradients come home, and with them go the rank, the sums, the count above, the logarithm and the weight.
  const infonce_softmax &softmax = p.softmaxes[0];
  const double statistics = (softmax.label_smoothing != 0 ? 5 : 4) * sizeof(double) + sizeof(int32_t);
  const double bytes = row_bytes(p, softmax.anchors) + double(p.dim) * sizeof(float) + statistics;
  double anchors = rows_of_all(softmax.anchors) * bytes;
  // Keys that travel as candidates are there; but by target positives are any rank's, and are fetched first.
  const int keys = positives_elsewhere(softmax);
  const bool are_there = softmax.positive != INFONCE_POSITIVE_TARGET && are_candidates(p, keys);
  if (visit_with_positives(p) && !are_there) anchors += rows_of_all(softmax.anchors) * number_bytes(p, keys);
  return anchors < candidates ? staying : 0;
}

infonce_problem problem_of_visitors(const infonce_problem &problem, const std::vector<int> &blocks,
                                    const infonce_matrix &anchors, const infonce_matrix &positives) {
  infonce_problem p = problem;
  p.gradient = 0;
  p.grad_output = {};
  p.share_of = &problem;
  p.reduction = INFONCE_REDUCTION_SUM;
  p.softmax_count = 1;
  infonce_softmax softmax{};
  softmax.positive = INFONCE_POSITIVE_SAME_INDEX;
  softmax.positive_matrices = 2;
  softmax.weight = 1;
  softmax.label_smoothing = problem.softmaxes[0].label_smoothing;
  // All but the positive come in parts, or are elsewhere.
  if (softmax.label_smoothing != 0) softmax.further_candidates = int64_t(smoothing_of(problem, 0).candidates) - 1;
  p.softmaxes[0] = softmax;
  p.matrices[0] = anchors;
  p.matrices[1] = positives;
  p.matrices[1].bias = nullptr;
  p.matrix_count = 2 + int(blocks.size());
  p.block_count = int(blocks.size());
  for (int k = 0; k < p.block_count; ++k) {
    const infonce_block &block = problem.blocks[blocks[size_t(k)]];
    p.matrices[2 + k] = problem.matrices[block.candidates];
    p.matrices[2 + k].rows = 0;
    p.blocks[k] = block;
    p.blocks[k].anchors = p.blocks[k].row_softmax = 0;
    p.blocks[k].candidates = 2 + k;
    // None of them is a visitor's own.
    p.blocks[k].own = INFONCE_OWN_NONE;
    p.blocks[k].own_stretch = 0;
    p.blocks[k].left_out &= ~uint32_t(INFONCE_LEAVE_OUT_OWN);
  }
  return p;
}

}  // namespace infonce::group

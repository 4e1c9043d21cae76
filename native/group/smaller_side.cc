#include "group/smaller_side.h"

#include <algorithm>

#include "common/form.h"
#include "group/numbers.h"

namespace infonce::group {
namespace {

// Whether anchors may visit any candidates. Not in losses whose rows need more of their candidates than a sum, nor beside
// blocks for which backends compute logits in another precision than a call of the visitors alone.
bool may_visit(const infonce_problem &p) {
  for (int s = 0; s < p.softmax_count; ++s) {
    const infonce_softmax &softmax = p.softmaxes[s];
    if (softmax.positive != INFONCE_POSITIVE_SAME_INDEX && softmax.positive != INFONCE_POSITIVE_TARGET) return false;
    if (softmax.row_loss != INFONCE_ROW_LOSS_CROSS_ENTROPY && softmax.row_loss != INFONCE_ROW_LOSS_DECOUPLED)
      return false;
    if (softmax.label_smoothing != 0) return false;
  }
  const infonce_softmax &first = p.softmaxes[0];
  const bool by_target = first.positive == INFONCE_POSITIVE_TARGET;
  if (by_target && threshold_of(p)) return false;
  if (joins_sides(p) || has_further_positives(p) || own_block_of(p)) return false;
  for (int b = 0; b < p.block_count; ++b) {
    if (p.blocks[b].candidates == first.anchors) return false;
    if (by_target && (first.positive_matrices >> p.blocks[b].candidates & 1)) return false;
  }
  return true;
}

bool may_stay(const infonce_problem &p, int matrix) {
  bool is_candidate = false;
  for (int b = 0; b < p.block_count; ++b) {
    const infonce_block &block = p.blocks[b];
    if (block.candidates != matrix) continue;
    if (block.anchors != p.softmaxes[0].anchors || block.row_softmax != 0 || block.column_softmax != kNone)
      return false;
    is_candidate = true;
  }
  for (int s = 0; s < p.softmax_count; ++s)
    if (p.softmaxes[s].anchors == matrix || (p.softmaxes[s].positive_matrices >> matrix & 1)) return false;
  return is_candidate;
}

// The scale decides in which precision logits are computed, too.
bool have_the_largest_scale(const infonce_problem &p, uint32_t matrices) {
  for (int b = 0; b < p.block_count; ++b)
    if ((matrices >> p.blocks[b].candidates & 1) && scale_of(p, p.blocks[b]) == largest_scale(p)) return true;
  return false;
}

bool has_bias(const infonce_problem &p) {
  return std::any_of(p.matrices, p.matrices + p.matrix_count, [](const infonce_matrix &each) { return each.bias; });
}

// A row's bytes on its way through the sums and the gradient.
double row_bytes(const infonce_problem &p, int matrix) {
  const infonce_matrix &rows = p.matrices[matrix];
  const double numbers = double(p.dim) * double(size_of(rows.type));
  const double of_guide = rows.guide ? double(p.guide_dim) * double(size_of(rows.guide_type)) : 0;
  return 2 * (numbers + of_guide + (rows.ids ? sizeof(int32_t) : 0) + (rows.bias ? sizeof(float) : 0));
}

}  // namespace

bool visit_with_positives(const infonce_problem &problem) { return threshold_of(problem) != nullptr; }

uint32_t matrices_that_stay(const infonce_problem &p, const std::vector<Record> &records) {
  if (!may_visit(p)) return 0;
  const auto bytes_of_all = [&](int matrix, double further) {
    double rows = 0;
    for (const Record &record : records) rows += double(record.rows[matrix]);
    return rows * (row_bytes(p, matrix) + further);
  };
  uint32_t staying = 0;
  double candidates = 0;
  for (int m = 0; m < p.matrix_count; ++m) {
    if (!may_stay(p, m)) continue;
    staying |= uint32_t(1) << m;
    candidates += bytes_of_all(m, 0);
  }
  // Their gradients come home, and with them go the rank, the sum, the count above, the logarithm and the weight.
  constexpr double kStatistics = 4 * sizeof(double) + sizeof(int32_t);
  const infonce_softmax &softmax = p.softmaxes[0];
  double anchors = bytes_of_all(softmax.anchors, double(p.dim) * sizeof(float) + kStatistics);
  const int keys = positives_elsewhere(softmax);
  bool keys_travel = false;
  for (int b = 0; b < p.block_count; ++b) keys_travel |= p.blocks[b].candidates == keys;
  if (visit_with_positives(p) && !keys_travel) anchors += bytes_of_all(keys, 0);
  return anchors < candidates && have_the_largest_scale(p, staying) ? staying : 0;
}

bool have_ids_apart(const infonce_problem &p, const std::vector<int> &blocks) {
  bool any = false;
  for (int b = 0; b < p.block_count; ++b) any |= leaves_out_by_id(p.blocks[b]);
  const auto leaves_out = [&](int block) { return leaves_out_by_id(p.blocks[block]); };
  return any && std::none_of(blocks.begin(), blocks.end(), leaves_out);
}

infonce_problem problem_of_visitors(const infonce_problem &problem, const std::vector<int> &blocks,
                                    const infonce_matrix &anchors, const infonce_matrix &positives) {
  infonce_problem p = problem;
  p.gradient = 0;
  p.grad_output = {};
  p.reduction = INFONCE_REDUCTION_SUM;
  p.softmax_count = 1;
  infonce_softmax softmax{};
  softmax.positive = INFONCE_POSITIVE_SAME_INDEX;
  softmax.positive_matrices = 2;
  softmax.weight = 1;
  p.softmaxes[0] = softmax;
  p.matrices[0] = anchors;
  p.matrices[1] = positives;
  p.matrices[1].bias = nullptr;
  p.matrix_count = 2 + int(blocks.size());
  p.block_count = int(blocks.size());
  static const float no_bias = 0;
  static const int32_t no_id = 0;
  const bool are_biased = has_bias(problem), have_ids = have_ids_apart(problem, blocks);
  for (int k = 0; k < p.block_count; ++k) {
    const infonce_block &block = problem.blocks[blocks[size_t(k)]];
    p.matrices[2 + k] = problem.matrices[block.candidates];
    p.matrices[2 + k].rows = 0;
    p.blocks[k] = block;
    p.blocks[k].anchors = p.blocks[k].row_softmax = 0;
    p.blocks[k].candidates = 2 + k;
    // Of no rows yet: whether there are any tells in which precision logits are computed.
    if (are_biased && !p.matrices[2 + k].bias) p.matrices[2 + k].bias = &no_bias;
    if (!have_ids) continue;
    p.matrices[2 + k].ids = &no_id;
    p.blocks[k].left_out |= INFONCE_LEAVE_OUT_SAME_ID;
  }
  return p;
}

}  // namespace infonce::group

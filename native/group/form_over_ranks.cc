#include "group/form_over_ranks.h"

#include <algorithm>

#include "common/call.h"
#include "group/agreement.h"

namespace infonce::group {
namespace {

// A rank may have no rows, of a problem that is otherwise one.
bool anchors_are_missing(const infonce_problem &p) {
  if (p.struct_size != sizeof p || what_is_wrong_with_form(p) || p.dim < 1) return false;
  for (int s = 0; s < p.softmax_count; ++s)
    if (rows_of(p, s) != 0) return false;
  return true;
}

}  // namespace

const char *what_is_wrong_over_ranks(const infonce_problem &p, const infonce_result &result) {
  bool goes_round = false;
  for (int b = 0; b < std::clamp(p.block_count, 0, INFONCE_MOST_BLOCKS); ++b)
    goes_round |= p.blocks[b].own != INFONCE_OWN_ALONE;
  if (anchors_are_missing(p)) {
    if (const char *wrong = what_is_wrong_with_form(p)) return wrong;
  } else if (!goes_round) {
    if (const char *wrong = what_is_wrong(p, result)) return wrong;
  } else {
    // Candidates alone may all be other ranks'.
    infonce_problem opened = p;
    infonce_upstream upstream{};
    upstream.struct_size = sizeof upstream;
    upstream.grad_output = p.grad_output;
    if (const char *wrong = what_is_wrong_with_open(&opened)) return wrong;
    if (const char *wrong = what_is_wrong_with_losses(p, result)) return wrong;
    if (const char *wrong = p.gradient ? what_is_wrong_with_backward(&opened, upstream, result) : nullptr) return wrong;
  }
  if (result.device_scalars) return "over a group the scalars are on the host";
  if (has_further_positives(p)) return "further positives by id are not there over a group";
  for (int s = 0; s < p.softmax_count; ++s) {
    const infonce_softmax &softmax = p.softmaxes[s];
    if (softmax.row_loss == INFONCE_ROW_LOSS_DEBIASED) return "debiased losses are not there over a group";
    if (softmax.mises_fisher_sigma != 0) return "weights of positives are not there over a group";
    if (softmax.positive == INFONCE_POSITIVE_TARGET) return "positives by target are not there over a group";
    if (softmax.positive == INFONCE_POSITIVE_NONE) continue;
    if (softmax.positive == INFONCE_POSITIVE_SAME_ID) {
      // A row's first positive may be anywhere.
      if (p.ranks) return "over a group positives by label have no ranks: pass ranks: false";
      if (memory_of(p) != kNone) return "a memory is not there over a group";
      if (softmax.row_loss != INFONCE_ROW_LOSS_CROSS_ENTROPY)
        return "over a group positives by label go with all candidates in the denominator";
      continue;
    }
    if (softmax.positive == INFONCE_POSITIVE_FIRST_VIEW || softmax.positive == INFONCE_POSITIVE_ALL_VIEWS) continue;
    if (p.matrices[positives_elsewhere(softmax)].rows != rows_of(p, s))
      return "over a group there are as many keys as anchors";
  }
  return nullptr;
}

uint64_t hash_of_form(const infonce_problem &p, const infonce_result &result, float upstream) {
  Hash hash;
  hash.add(p.matrix_count).add(p.block_count).add(p.softmax_count).add(p.reduction).add(p.normalize).add(p.gradient);
  hash.add(p.propagate_non_finite).add(p.ranks).add(p.guide_dim).add(upstream);
  for (int m = 0; m < p.matrix_count; ++m) {
    const infonce_matrix &matrix = p.matrices[m];
    hash.add(matrix.type).add(matrix.views).add(matrix.ids != nullptr).add(matrix.bias != nullptr);
    hash.add(matrix.counts != nullptr).add(matrix.guide != nullptr).add(result.gradients[m].data != nullptr);
  }
  for (int b = 0; b < p.block_count; ++b) {
    const infonce_block &block = p.blocks[b];
    hash.add(block.anchors).add(block.candidates).add(block.row_softmax).add(block.column_softmax);
    hash.add(block.left_out).add(block.own).add(block.stretch).add(block.own_stretch);
    hash.add(block.threshold).add(block.by_guide).add(block.threshold_margin);
  }
  for (int s = 0; s < p.softmax_count; ++s) {
    const infonce_softmax &softmax = p.softmaxes[s];
    hash.add(softmax.anchors).add(softmax.positive).add(softmax.positive_matrices).add(softmax.row_loss);
    hash.add(softmax.weight).add(softmax.margin).add(softmax.label_smoothing).add(softmax.tau_plus).add(softmax.beta);
    hash.add(softmax.mises_fisher_sigma);
  }
  return hash.value();
}

}  // namespace infonce::group

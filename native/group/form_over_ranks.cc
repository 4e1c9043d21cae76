#include "group/form_over_ranks.h"

#include <algorithm>

#include "common/call.h"
#include "group/agreement.h"
#include "group/target_rows.h"

namespace infonce::group {
namespace {

// A rank may have no rows, of a problem that is otherwise one.
bool anchors_are_missing(const infonce_problem &p) {
  if (p.struct_size != sizeof p || what_is_wrong_with_form(p) || p.dim < 1) return false;
  for (int s = 0; s < p.softmax_count; ++s)
    if (rows_of(p, s) != 0) return false;
  return true;
}

// Turns the problem into one that can be opened; sizes are those of all ranks.
const char *what_is_wrong_with_targets(const infonce_problem &p, infonce_problem *opened) {
  if (const char *wrong = what_is_wrong_with_form(p)) return wrong;
  const infonce_matrix &anchors = p.matrices[p.softmaxes[0].anchors], &keys = p.matrices[keys_of(p)];
  infonce_matrix positives = anchors;
  positives.type = keys.type;
  positives.guide_type = keys.guide_type;
  positives.row_stride = 0;
  positives.views = 1;
  positives.ids = nullptr;
  return with_positives_by_index(p, positives, opened);
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
    infonce_problem opened = p, given = p;
    if (has_targets(p))
      if (const char *wrong = what_is_wrong_with_targets(p, &opened)) return wrong;
    infonce_upstream upstream{};
    upstream.struct_size = sizeof upstream;
    upstream.grad_output = p.grad_output;
    if (const char *wrong = what_is_wrong_with_open(&opened)) return wrong;
    if (const char *wrong = what_is_wrong_with_losses(p, result)) return wrong;
    if (const char *wrong = p.gradient ? what_is_wrong_with_backward(&given, upstream, result) : nullptr) return wrong;
  }
  if (result.device_scalars) return "over a group the scalars are on the host";
  for (int s = 0; s < p.softmax_count; ++s) {
    const infonce_softmax &softmax = p.softmaxes[s];
    if (softmax.positive == INFONCE_POSITIVE_NONE || has_targets(p)) continue;
    if (positives_are_anchors(softmax)) continue;
    if (p.matrices[positives_elsewhere(softmax)].rows != rows_of(p, s))
      return "over a group there are as many keys as anchors";
  }
  return nullptr;
}

// What one call on all rows is refused for. A rank may have no rows of an input, and of decoupled losses no candidates, but
// not all ranks.
const char *what_is_wrong_with_all_rows(const infonce_problem &p, const std::vector<Record> &records) {
  const infonce_softmax &softmax = p.softmaxes[0];
  const int memory = memory_of(p);
  for (int m = 0; m < p.matrix_count; ++m)
    if (m != memory && std::all_of(records.begin(), records.end(), [m](const Record &of) { return of.rows[m] == 0; }))
      return "all ranks together have no rows of an input";
  if (softmax.row_loss != INFONCE_ROW_LOSS_DECOUPLED || p.block_count > (memory == kNone ? 1 : 2)) return nullptr;
  int64_t rows = 0;
  Record all;
  for (const Record &record : records) {
    rows += record.rows[softmax.anchors] + (memory == kNone ? 0 : record.rows[memory]);
    all.least_id = std::min(all.least_id, record.least_id);
    all.largest_id = std::max(all.largest_id, record.largest_id);
  }
  if (softmax.positive == INFONCE_POSITIVE_SAME_ID)
    return rows > 1 && all.least_id == all.largest_id
               ? "the rows of all ranks are of one class, and none has a negative"
               : nullptr;
  const int64_t views = p.matrices[softmax.anchors].views;
  const bool has_all = views == 2 || softmax.positive == INFONCE_POSITIVE_ALL_VIEWS;
  return rows == views && has_all ? "all ranks have one sample together, and no row has a negative" : nullptr;
}

// It is the last matrix, of the last block.
void leave_out_empty_memory(infonce_problem *p) {
  if (what_is_wrong_with_form(*p)) return;
  const int memory = memory_of(*p);
  if (memory == kNone || p->matrices[memory].rows > 0 || memory != p->matrix_count - 1 ||
      p->blocks[p->block_count - 1].candidates != memory)
    return;
  --p->matrix_count, --p->block_count;
  p->softmaxes[0].positive_matrices &= ~(uint32_t(1) << memory);
}

uint64_t hash_of_form(const infonce_problem &p, const infonce_result &result, float upstream) {
  Hash hash;
  hash.add(p.matrix_count).add(p.block_count).add(p.softmax_count).add(p.reduction).add(p.normalize).add(p.gradient);
  hash.add(p.propagate_non_finite).add(p.ranks).add(p.guide_dim).add(upstream);
  for (int m = 0; m < p.matrix_count; ++m) {
    const infonce_matrix &matrix = p.matrices[m];
    hash.add(matrix.type).add(matrix.views).add(matrix.ids != nullptr).add(matrix.bias != nullptr);
    hash.add(matrix.counts != nullptr)
        .add(matrix.guide != nullptr)
        .add(matrix.guide_type)
        .add(result.gradients[m].data != nullptr);
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

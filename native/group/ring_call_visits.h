// Which rows of a traveller meet which of this rank's, as parts of its call.
#pragma once

#include "common/form.h"
#include "group/ring_call.h"

namespace infonce::group {

// Which of a traveller's rows meet which of this rank's at this hop. Rows of every block stand for those of a softmax.
inline RingCall::Meeting RingCall::meeting_of(const Traveller &traveller, const infonce_block &block, int hop) const {
  const int64_t anchors = loss_rows();
  if (hop == 0 || hop > traveller.hops) return {};
  const int64_t visitors = ring_->owner(hop).rows[traveller.matrix];
  if (!is_triangle(block) || 2 * hop < post_.size()) return {0, visitors, anchors};
  if (2 * hop > post_.size()) return {};
  // Halfway round an even ring two ranks have each other's rows. Half of the first one's meet the second one's there, the
  // others here.
  constexpr int64_t kWhole = 128;  // rows that backends compute together
  const auto half_of = [](int64_t rows) { return rows < 2 * kWhole ? rows / 2 : rows / 2 / kWhole * kWhole; };
  if (post_.rank() < post_.before(hop)) return {0, visitors, half_of(anchors)};
  return {half_of(visitors), visitors - half_of(visitors), anchors};
}

// What travels with the rows from the first on.
inline infonce_travelling_rows RingCall::rows_from(const infonce_travelling_rows &rows, int64_t first) {
  infonce_travelling_rows from = rows;
  for (double **numbers : {&from.log_sum, &from.rank, &from.log_sum_exp, &from.weight, &from.positive_sum,
                           &from.positive_log_sum, &from.logit_sum, &from.rest_share, &from.weights_log_sum,
                           &from.weights_log_sum_exp, &from.term_losses, &from.term_shares})
    if (*numbers) *numbers += first;
  for (int32_t **numbers : {&from.above, &from.positives, &from.all_positives})
    if (*numbers) *numbers += first;
  from.positives_log_mean = nullptr;
  return from;
}

// Calls visit(part) for each block of the traveller, and keeps what fails. `columns`: of all its rows.
template <class Visit>
void RingCall::visit(const Traveller &traveller, int hop, const Packed &rows, const infonce_travelling_rows &columns,
                     Visit &&visit) {
  for (const int block : traveller.blocks) {
    const Meeting meeting = meeting_of(traveller, problem_.blocks[block], hop);
    if (meeting.visitors == 0 || meeting.anchors == 0) continue;
    infonce_part part{};
    part.struct_size = sizeof part;
    part.block = block;
    part.candidates = travellers_.matrix_in(rows, ring_->owner(hop), traveller, meeting.first_visitor);
    part.candidates.rows = meeting.visitors;
    if (targets_ && traveller.matrix == targets_->keys())
      part.candidates.first_number = targets_->first_of(post_.before(hop)) + meeting.first_visitor;
    if (problem_.blocks[block].column_softmax != kNone) part.columns = rows_from(columns, meeting.first_visitor);
    if (meeting.anchors < loss_rows()) part.anchor_count = meeting.anchors;
    part.number = 1 + hop * INFONCE_MOST_BLOCKS + block;
    part.cancelled = cancelled_;
    if (computes()) note(visit(part, meeting));
  }
}

}  // namespace infonce::group

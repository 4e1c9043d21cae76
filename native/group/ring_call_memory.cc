// SupCon's memory, if it stays on its rank: all ranks' anchors go all the way round, and at each rank meet its rows as
// columns of parts of one call, in which those rows are anchors without a loss that meet nothing else.
#include <algorithm>
#include <cmath>
#include <limits>

#include "common/call.h"
#include "common/smoothing.h"
#include "group/ring_call_visits.h"

namespace infonce::group {

void RingCall::take_memory_for_memory(const infonce_matrix &memory) {
  no_firsts_.assign(size_t(memory.rows), -1);
  no_log_sums_.assign(size_t(memory.rows), std::numeric_limits<double>::infinity());
  no_weights_.assign(size_t(memory.rows), 0);
}

infonce_problem RingCall::problem_of_memory() const {
  const infonce_matrix &memory = homes_[0].candidates;
  infonce_problem p = local_;
  p.grad_output = {};
  p.share_of = &local_;
  p.reduction = INFONCE_REDUCTION_SUM;
  p.matrix_count = 2;
  p.block_count = p.softmax_count = 1;
  p.matrices[0] = p.matrices[1] = memory;
  p.matrices[1].rows = 0;
  p.matrices[1].ids = nullptr;
  infonce_softmax &softmax = p.softmaxes[0];
  softmax.anchors = 0;
  softmax.positive_matrices = 1;
  softmax.first_positives = p.ranks ? no_firsts_.data() : nullptr;
  softmax.first_positives_in = p.ranks ? 1 : 0;
  if (softmax.label_smoothing != 0) softmax.further_candidates = int64_t(smoothing_of(local_, 0).candidates);
  infonce_block block{};
  block.column_softmax = 0;
  block.left_out = INFONCE_LEAVE_OUT_SAME_ROW;
  block.meets_parts_alone = 1;
  p.blocks[0] = block;
  return p;
}

// A failure names the matrix of the caller's problem.
template <class Step> void RingCall::of_memory(Step &&step) {
  if (!computes()) return;
  const infonce_status status = step();
  if (status == INFONCE_NON_FINITE && failure_->matrix == 0) failure_->matrix = memory_of(problem_);
  note(status);
}

// Only where another rank has anchors.
void RingCall::open_memory() {
  if (!memory_stays_ || homes_[0].candidates.rows == 0 || all_rows_ == loss_rows()) return;
  const infonce_problem problem = problem_of_memory();
  of_memory([&] { return backend_.open(context_, &problem, &memory_here_, failure_); });
}

infonce_part RingCall::visitors_of_memory(int hop, const Packed &rows, const infonce_travelling_rows &columns) const {
  infonce_part part{};
  part.struct_size = sizeof part;
  part.candidates = travellers_.matrix_in(rows, ring_->owner(hop), travellers_.of(anchors()), 0);
  part.columns = columns;
  part.number = 1 + hop;
  part.cancelled = cancelled_;
  return part;
}

// `terms`: of positives that have their own, when sums are complete.
void RingCall::add_to_memory(int hop, const Packed &rows, const infonce_travelling_rows &columns, bool terms) {
  if (!memory_here_) return;
  infonce_part part = visitors_of_memory(hop, rows, columns);
  if (part.candidates.rows == 0) return;
  part.terms = terms;
  if (terms) part.number = 0;
  of_memory([&] { return backend_.add(context_, memory_here_, &part, failure_); });
  const double *const sums = terms ? columns.term_losses : columns.log_sum;
  is_nan_ |= computes() && std::any_of(sums, sums + part.candidates.rows, [](double sum) { return std::isnan(sum); });
}

// Its rows have no loss: their weight is 0.
void RingCall::open_gradient_of_memory() {
  if (!memory_here_) return;
  infonce_result result{};
  result.struct_size = sizeof result;
  infonce_upstream upstream{};
  upstream.struct_size = sizeof upstream;
  upstream.cancelled = cancelled_;
  infonce_travelling_rows weights{};
  weights.log_sum_exp = no_log_sums_.data();
  weights.weight = no_weights_.data();
  if (!memory_is_closed_) of_memory([&] { return backend_.close(context_, memory_here_, &result, failure_); });
  memory_is_closed_ = true;
  of_memory([&] { return backend_.open_gradient(context_, memory_here_, &upstream, failure_); });
  of_memory([&] { return backend_.join_rows(context_, memory_here_, 0, &weights, failure_); });
}

void RingCall::add_gradient_of_memory(int hop, const Packed &rows, const infonce_travelling_rows &columns,
                                      const infonce_output &gradient) {
  const infonce_part part = visitors_of_memory(hop, rows, columns);
  of_memory([&] { return backend_.add_gradient(context_, memory_here_, &part, &gradient, failure_); });
}

void RingCall::close_gradient_of_memory() {
  if (!memory_here_) return;
  infonce_result result{};
  result.struct_size = sizeof result;
  result.gradients[0] = {reinterpret_cast<float *>(gradient_of_memory_.bytes()), of_rows_->kind.residence()};
  of_memory([&] { return backend_.close_gradient(context_, memory_here_, &result, failure_); });
  grad_scale_of_visitors_ += result.scalars.grad_scale;
  gradient_of_memory_ = Memory::Piece();
}

}  // namespace infonce::group

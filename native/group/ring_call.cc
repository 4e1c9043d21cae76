// What ranks agree on in a call, and what they add up.
#include "group/ring_call.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "common/call.h"
#include "common/smoothing.h"
#include "group/form_over_ranks.h"
#include "group/smaller_side.h"

namespace infonce::group {

RingCall::RingCall(const Post &post, const infonce_backend &backend, infonce_context *context)
    : post_(post.with(MemoryKind::of(backend, context))), backend_(backend), context_(context) {
  own_failure_.struct_size = sizeof own_failure_;
}

RingCall::~RingCall() {
  for (size_t hop = 0; hop < visits_.size(); ++hop) end_visit(int(hop));
  for (infonce_saved *saved : {saved_, memory_here_})
    if (saved) backend_.saved_destroy(context_, saved);
}

void RingCall::check(Kind kind) {
  record_.kind = kind;
  record_.status = status_;
  if (status_ != INFONCE_OK) {
    std::snprintf(record_.message, sizeof record_.message, "%.159s", failure_->message);
    record_.bad_matrix = failure_->matrix;
    record_.bad_row = failure_->row;
  }
  // In the same places: who goes round looks at its owner's.
  std::vector<Record> agreed = agree(post_, record_);
  if (records_.empty()) records_ = std::move(agreed);
  else std::copy(agreed.begin(), agreed.end(), records_.begin());
}

// With one value for all rows it is every rank's.
infonce_status RingCall::read_upstream(const infonce_grad_output &upstream) {
  upstream_ = 1;
  if (problem_.reduction == INFONCE_REDUCTION_NONE || upstream.count != 1) return INFONCE_OK;
  if (upstream.residence == INFONCE_ON_DEVICE)
    return backend_.copy(context_, &upstream_, upstream.data, sizeof upstream_, INFONCE_COPY_FROM_DEVICE, failure_);
  upstream_ = upstream.data[0];
  return INFONCE_OK;
}

void RingCall::describe() {
  record_.scale = problem_.scale;
  record_.bias = problem_.bias;
  record_.dim = problem_.dim;
  for (int m = 0; m < problem_.matrix_count; ++m) record_.rows[m] = problem_.matrices[m].rows;
  for (const int m : {anchors(), memory_of(problem_)}) {
    if (problem_.softmaxes[0].positive != INFONCE_POSITIVE_SAME_ID || m == kNone) continue;
    const infonce_matrix &matrix = problem_.matrices[m];
    for (int64_t row = 0; row < matrix.rows; ++row) {
      record_.least_id = std::min(record_.least_id, matrix.ids[row]);
      record_.largest_id = std::max(record_.largest_id, matrix.ids[row]);
    }
  }
  record_.form = form_ = hash_of_form(problem_, local_result_, upstream_);
}

// Ranks agree on the problem.
infonce_status RingCall::begin(const infonce_problem &problem, const infonce_result &result) {
  problem_ = local_ = problem;
  local_result_ = result;
  cancelled_ = problem.cancelled;
  if (const char *wrong = what_is_wrong_over_ranks(problem, result)) note(invalid(failure_, wrong));
  else note(read_upstream(problem.grad_output));
  if (status_ == INFONCE_OK) describe(), travellers_ = Travellers(problem, post_.size());
  const bool in_parts = !travellers_.empty() && post_.size() > 1;
  if (const char *why = in_parts ? backend_.why_no_parts(&problem) : nullptr) note(invalid(failure_, why));
  check(Kind::kLoss);
  if (!computes()) return status_;
  if (const char *wrong = what_is_wrong_with_all_rows(problem, records_)) note(invalid(failure_, wrong));
  if (!computes()) return status_;
  for (const Record &record : records_) all_rows_ += record.rows[problem_.softmaxes[0].anchors];
  if (problem.softmaxes[0].row_loss == INFONCE_ROW_LOSS_DEBIASED) local_.softmaxes[0].negatives = all_rows_ - 2;
  if (problem_.reduction == INFONCE_REDUCTION_MEAN) local_.reduction = INFONCE_REDUCTION_SUM;
  is_nan_ = problem_.propagate_non_finite && problem_.gradient && has_bad_upstream();
  if (has_targets(problem_)) {
    targets_ = std::make_unique<TargetRows>(post_, records_, problem_);
    note(targets_->ask(problem_, failure_));
    take_memory([&] { targets_->take_memory(problem_); });
    check(Kind::kOpened);
    if (!computes()) return status_;
    note(targets_->fetch(problem_, backend_, context_, failure_));
    is_nan_ |= problem_.propagate_non_finite && targets_->has_bad_keys();
    local_ = targets_->by_index(local_);
  }
  const uint32_t staying = matrices_that_stay(problem_, records_);
  travellers_.let_stay(staying, local_, post_.size());
  memory_stays_ = memory_of(problem_) != kNone && (staying >> memory_of(problem_) & 1);
  for (int s = 0; s < problem_.softmax_count; ++s)
    if (local_.softmaxes[s].label_smoothing != 0) local_.softmaxes[s].further_candidates = candidates_elsewhere(s);
  of_rows_.emplace(travels_on_device() ? post_.with(MemoryKind::on_device_of(backend_, context_)) : post_);
  return INFONCE_OK;
}

// But for positives by target, which are fetched and brought home on the host.
bool RingCall::travels_on_device() const {
  return backend_.combine && post_.transport.takes_memory_of(backend_.host_device(context_)) && !targets_;
}

// Where they may stand, NaN and infinity make all of a call's results NaN. Those on a device are told by its backend.
bool RingCall::has_bad_upstream() const {
  const infonce_grad_output &upstream = problem_.grad_output;
  if (!std::isfinite(upstream_)) return true;
  if (upstream.residence == INFONCE_ON_DEVICE) return false;
  return !std::all_of(upstream.data, upstream.data + upstream.count,
                      [](float number) { return std::isfinite(number); });
}

bool RingCall::is_nan_in(Sum sum) const {
  return std::any_of(records_.begin(), records_.end(), [=](const Record &each) { return std::isnan(each.sums[sum]); });
}

void RingCall::fill_with_nan(const infonce_output &output, int64_t count) {
  if (output.residence == INFONCE_ON_HOST) {
    std::fill_n(output.data, count, float(kNaN));
    return;
  }
  note(guarded(failure_, [&] {
    const std::vector<float> numbers(static_cast<size_t>(count), static_cast<float>(kNaN));
    return backend_.copy(context_, output.data, numbers.data(), count * int64_t(sizeof(float)), INFONCE_COPY_TO_DEVICE,
                         failure_);
  }));
}

// Of a row of this softmax, on other ranks.
int64_t RingCall::candidates_elsewhere(int softmax) const {
  int64_t rows = 0;
  for_each_candidate_matrix(problem_, softmax, [&](int m) {
    for (const Record &record : records_) rows += record.rows[m];
    rows -= record_.rows[m];
  });
  return rows;
}

// Adds up what the ranks came to.
void RingCall::reduce(Gradients gradients, infonce_scalars *scalars) const {
  double sums[std::size(Record().sums)] = {};
  for (const Record &record : records_)
    for (size_t k = 0; k < std::size(sums); ++k) sums[k] += record.sums[k];
  const double anchors = double(all_rows_) * problem_.softmax_count;
  const double share = gradients == Gradients::kSum ? 1. / post_.size() : 1;
  scalars->loss = problem_.reduction == INFONCE_REDUCTION_MEAN ? sums[kLoss] / double(all_rows_) : sums[kLoss];
  scalars->top1 = problem_.ranks ? sums[kTop1] / anchors : kNaN;
  scalars->top5 = problem_.ranks ? sums[kTop5] / anchors : kNaN;
  scalars->grad_scale = sums[kGradScale] * share;
  scalars->grad_bias = sums[kGradBias] * share;
  if (is_nan_) scalars->top1 = scalars->top5 = kNaN;
}

infonce_status RingCall::forward(const Record &record, const infonce_problem &problem, infonce_result *result,
                                 infonce_failure *failure) {
  infonce_problem without = problem;
  without.gradient = 0;
  without.grad_output = {};
  is_in_halves_ = true;
  if (post_.size() == 1) {
    leave_out_empty_memory(&without);
    return backend_.forward(context_, &without, result, &saved_, failure);
  }
  record_ = record;
  failure_ = failure ? failure : &own_failure_;
  if (begin(without, *result) != INFONCE_OK || compute_losses() != INFONCE_OK) return status_;
  reduce(Gradients::kSum, &result->scalars);
  record_.of_step = record.sequence;
  return INFONCE_OK;
}

infonce_status RingCall::backward(const Record &record, const infonce_upstream &upstream, Gradients gradients,
                                  infonce_result *result, infonce_failure *failure) {
  if (post_.size() == 1) return backend_.backward(context_, saved_, &upstream, result, failure);
  record_.sequence = record.sequence;
  status_ = INFONCE_OK;
  if (ring_) ring_->forgive();
  failure_ = failure ? failure : &own_failure_;
  problem_.gradient = 1;
  problem_.grad_output = upstream.grad_output;
  // That of the forward pass has gone with its call; calls of visitors take this one from the problem.
  problem_.cancelled = local_.cancelled = cancelled_ = upstream.cancelled;
  infonce_problem checked = problem_;
  if (const char *wrong = has_rows() ? what_is_wrong_with_backward(&checked, upstream, *result) : nullptr)
    note(invalid(failure_, wrong));
  else note(read_upstream(upstream.grad_output));
  Hash hash;
  hash.add(form_).add(upstream_).add(gradients);
  for (const infonce_output &gradient : result->gradients) hash.add(gradient.data != nullptr);
  record_.form = hash.value();
  if (status_ == INFONCE_OK) place_gradients(*result);
  if (ring_) take_memory_for_gradients();
  check(Kind::kBackward);
  if (!computes()) return status_;
  complete_gradients(gradients, result);
  if (!computes()) return status_;
  infonce_scalars scalars;
  reduce(gradients, &scalars);
  result->scalars.grad_scale = scalars.grad_scale;
  result->scalars.grad_bias = scalars.grad_bias;
  return INFONCE_OK;
}

infonce_status RingCall::run(const Record &record, const infonce_problem &problem, Gradients gradients,
                             infonce_result *result, infonce_failure *failure) {
  record_ = record;
  failure_ = failure ? failure : &own_failure_;
  if (begin(problem, *result) != INFONCE_OK) return status_;
  if (problem.gradient) place_gradients(*result);
  if (compute_losses() != INFONCE_OK) return status_;
  if (problem.gradient) {
    complete_gradients(gradients, result);
    if (!computes()) return status_;
  }
  const infonce_scalars before = result->scalars;
  reduce(gradients, &result->scalars);
  if (!problem.gradient) result->scalars.grad_scale = before.grad_scale, result->scalars.grad_bias = before.grad_bias;
  return INFONCE_OK;
}

}  // namespace infonce::group

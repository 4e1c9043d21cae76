// The gradients of a call over ranks: candidates travel once more, and what other ranks add to theirs follows one hop
// behind.
#include <algorithm>

#include "common/call.h"
#include "group/ring_call_visits.h"

namespace infonce::group {
namespace {

void add_to(float *sums, const float *numbers, int64_t count) {
  for (int64_t i = 0; i < count; ++i) sums[i] += numbers[i];
}

}  // namespace

// Where the numbers that a traveller's rows have for the gradient are.
infonce_travelling_rows RingCall::weights_in(char *columns, int hop, const Traveller &traveller) const {
  infonce_travelling_rows weights{};
  if (traveller.softmax == kNone) return weights;
  const int64_t count = ring_->owner(hop).rows[traveller.matrix];
  weights.log_sum_exp = travellers_.columns_in(columns, ring_->owner(hop), traveller, travellers_.weights());
  weights.weight = weights.log_sum_exp + count;
  if (traveller.columns.are_hard) weights.weights_log_sum_exp = weights.weight + count;
  if (!traveller.columns.positives) return weights;
  weights.rest_share = weights.weight + count;
  weights.all_positives = reinterpret_cast<int32_t *>(weights.rest_share + count);
  return weights;
}

// Of a traveller's rows, from this rank's.
void RingCall::compute_share(const Traveller &traveller, int hop, const Packed &rows, char *columns, float *share) {
  const int64_t numbers = ring_->owner(hop).rows[traveller.matrix] * problem_.dim;
  const infonce_travelling_rows travelling = weights_in(columns, hop, traveller);
  if (share) clear(share, numbers);
  bool is_first = true;
  auto *const of_block = reinterpret_cast<float *>(of_block_.bytes());
  visit(traveller, hop, rows, travelling, [&](const infonce_part &part, const Meeting &meeting) {
    const int64_t first = meeting.first_visitor * problem_.dim;
    const infonce_output output = {!share ? nullptr : is_first ? share + first : of_block, of_rows_->kind.residence()};
    const infonce_status status = backend_.add_gradient(context_, saved_, &part, &output, failure_);
    if (share && !is_first && status == INFONCE_OK) add(share + first, of_block, meeting.visitors * problem_.dim);
    is_first = false;
    return status;
  });
  if (!memory_here_ || traveller.matrix != anchors() || hop == 0 || numbers == 0) return;
  add_gradient_of_memory(hop, rows, travelling, {of_block, of_rows_->kind.residence()});
  if (computes()) add(share, of_block, numbers);
}

void RingCall::clear(float *numbers, int64_t count) {
  if (!of_rows_->kind.is_on_device()) std::fill_n(numbers, count, 0.f);
  else if (computes()) note(backend_.combine(context_, numbers, nullptr, count, 0, 0, failure_));
}

void RingCall::add(float *to, const float *from, int64_t count) {
  if (!of_rows_->kind.is_on_device()) add_to(to, from, count);
  else if (computes()) note(backend_.combine(context_, to, from, count, 1, 0, failure_));
}

// What the others added, to this rank's own, which may lie elsewhere.
void RingCall::add_home(const infonce_output &own, const float *home, int64_t count) {
  if (own.residence == INFONCE_ON_DEVICE) return add(own.data, home, count);
  if (!of_rows_->kind.is_on_device()) return add_to(own.data, home, count);
  std::vector<float> on_host;
  take_memory([&] { on_host.resize(static_cast<size_t>(count)); });
  if (!computes()) return;
  note(
      backend_.copy(context_, on_host.data(), home, count * int64_t(sizeof *home), INFONCE_COPY_FROM_DEVICE, failure_));
  if (computes()) add_to(own.data, on_host.data(), count);
}

void RingCall::compute_gradients() {
  infonce_upstream upstream{};
  upstream.struct_size = sizeof upstream;
  upstream.grad_output = problem_.grad_output;
  upstream.cancelled = cancelled_;
  if (problem_.reduction == INFONCE_REDUCTION_MEAN) {
    upstream_ = float(double(upstream_) / double(all_rows_));
    upstream.grad_output = {&upstream_, 1, INFONCE_ON_HOST};
  }
  if (travellers_.empty()) {
    if (has_rows()) note(backend_.backward(context_, saved_, &upstream, &local_result_, failure_));
    return;
  }
  if (targets_) local_result_.gradients[targets_->matrix()] = {targets_->gradient(), INFONCE_ON_HOST};
  if (computes() && has_rows()) note(backend_.open_gradient(context_, saved_, &upstream, failure_));
  begin_gradients_here();
  open_gradient_of_memory();
  ring_->go_round(travellers_.weights(), status_, [&](int hop, const Packed &rows, char *columns) {
    auto relay = gradients_.begin();
    for (const Traveller &traveller : travellers_.all()) {
      if (hop == 0) {
        if (traveller.softmax == kNone || !computes() || !has_rows()) continue;
        const infonce_travelling_rows own = weights_in(columns, 0, traveller);
        note(backend_.read_rows(context_, saved_, traveller.softmax, &own, failure_));
      } else if (!traveller.has_gradient) {
        compute_share(traveller, hop, rows, columns, nullptr);
      } else {
        if (hop <= traveller.hops) {
          auto *const share = reinterpret_cast<float *>(relay->share());
          if (traveller.are_anchors) compute_share_of_visitors(hop, rows, columns, share);
          else compute_share(traveller, hop, rows, columns, share);
          relay->pass_on(hop);
        }
        ++relay;
      }
    }
    return true;
  });
  if (computes() && has_rows()) note(backend_.close_gradient(context_, saved_, &local_result_, failure_));
  close_gradient_of_memory();
  add_gradients_here();
  auto relay = gradients_.begin();
  for (const Traveller &traveller : travellers_.all()) {
    if (!traveller.has_gradient) continue;
    const auto *home = reinterpret_cast<const float *>((relay++)->come_home());
    const int64_t numbers = ring_->owner(0).rows[traveller.matrix] * problem_.dim;
    if (computes()) add_home(local_result_.gradients[traveller.matrix], home, numbers);
  }
  gradients_.clear();
  if (!targets_) return;
  local_result_.gradients[targets_->keys()] = gradient_of_keys_;
  targets_->bring_home(computes() ? gradient_of_keys_.data : nullptr);
}

// For the sums that travel with the rows, and where a row is a candidate of several blocks.
void RingCall::take_memory_for_gradients() {
  gradients_.clear();
  take_memory_for_gradients_here();
  if (memory_stays_)
    take_memory([&] {
      const auto numbers = size_t(homes_[0].candidates.rows * problem_.dim);
      gradient_of_memory_ = Memory::Piece(numbers * sizeof(float), of_rows_->kind);
    });
  if (targets_) take_memory([&] { targets_->take_memory_for_gradients(); });
  for (const Traveller &traveller : travellers_.all()) {
    if (!traveller.has_gradient) continue;
    const auto numbers = [this, m = traveller.matrix](int hop) { return ring_->owner(hop).rows[m] * problem_.dim; };
    const auto size = [numbers](int hop) { return size_t(numbers(hop)) * sizeof(float); };
    const auto join = [this, numbers](char *arrived, const char *share, int hop) {
      add(reinterpret_cast<float *>(arrived), reinterpret_cast<const float *>(share), numbers(hop));
    };
    take_memory([&] {
      gradients_.emplace_back(*of_rows_, Channel::kBackward, traveller.hops, size, join);
      const bool adds_up = traveller.blocks.size() > 1 || memory_stays_;
      for (int hop = 1; adds_up && !traveller.are_anchors && hop <= traveller.hops; ++hop)
        if (of_block_.size() < size(hop)) of_block_ = Memory::Piece(size(hop), of_rows_->kind);
    });
  }
}

void RingCall::complete_gradients(Gradients gradients, infonce_result *result) {
  local_result_.scalars.grad_scale = local_result_.scalars.grad_bias = is_nan_ ? kNaN : 0;
  if (!is_nan_) compute_gradients();
  if (!is_nan_ && computes()) deliver_gradients(gradients, result);
  record_.sums[kGradScale] = local_result_.scalars.grad_scale;
  record_.sums[kGradBias] = local_result_.scalars.grad_bias;
  check(Kind::kGradients);
  if (!problem_.propagate_non_finite || !is_nan_in(kGradScale)) return;
  for (int m = 0; m < problem_.matrix_count; ++m)
    if (result->gradients[m].data) fill_with_nan(result->gradients[m], problem_.matrices[m].rows * problem_.dim);
}

// Where this rank's gradients are computed; those that are wanted on the device are added up where rows travel.
void RingCall::place_gradients(const infonce_result &result) {
  local_result_ = result;
  travellers_.want_gradients(result);
  for (int m = 0; m < problem_.matrix_count; ++m) {
    infonce_output &gradient = local_result_.gradients[m];
    const int64_t numbers = problem_.matrices[m].rows * problem_.dim;
    if (!gradient.data) continue;
    if (gradient.residence == INFONCE_ON_DEVICE && !of_rows_->kind.is_on_device()) {
      take_memory([&] { staged_[m].resize(size_t(numbers)); });
      gradient = {staged_[m].data(), INFONCE_ON_HOST};
    }
    // Of keys that are no candidates all comes from elsewhere.
    const bool is_apart = targets_ && m == targets_->keys() && !targets_->has_keys_apart();
    if (status_ != INFONCE_OK || (has_rows() && !is_apart)) continue;
    if (gradient.residence == INFONCE_ON_DEVICE) clear(gradient.data, numbers);
    else std::fill_n(gradient.data, numbers, 0.f);
  }
  if (targets_) gradient_of_keys_ = local_result_.gradients[targets_->keys()];
}

void RingCall::deliver_gradients(Gradients gradients, infonce_result *result) {
  for (int m = 0; m < problem_.matrix_count; ++m) {
    const infonce_output &wanted = result->gradients[m], &computed = local_result_.gradients[m];
    if (!wanted.data) continue;
    const int64_t numbers = problem_.matrices[m].rows * problem_.dim;
    const float size = gradients == Gradients::kMean ? float(post_.size()) : 1;
    if (computed.residence == INFONCE_ON_DEVICE)  // waits for the device, too
      note(backend_.combine(context_, computed.data, nullptr, numbers, size, 1, failure_));
    else if (size != 1)
      std::transform(computed.data, computed.data + numbers, computed.data, [=](float x) { return x * size; });
    if (wanted.data != computed.data)
      note(backend_.copy(context_, wanted.data, computed.data, numbers * int64_t(sizeof(float)), INFONCE_COPY_TO_DEVICE,
                         failure_));
  }
}

}  // namespace infonce::group

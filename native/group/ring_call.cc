#include "group/ring_call.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>

#include "common/call.h"
#include "group/relay.h"

namespace infonce::group {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// In Record::sums.
enum Sum { kLoss, kTop1, kTop5, kGradScale, kGradBias };

void add_to(float *sums, const float *numbers, int64_t count) {
  for (int64_t i = 0; i < count; ++i) sums[i] += numbers[i];
}

// A rank may have no rows, of a problem that is otherwise one.
bool anchors_are_missing(const infonce_problem &p) {
  if (p.struct_size != sizeof p || what_is_wrong_with_form(p) || p.dim < 1) return false;
  for (int s = 0; s < p.softmax_count; ++s)
    if (rows_of(p, s) != 0) return false;
  return true;
}

}  // namespace

const char *what_is_wrong_over_ranks(const infonce_problem &p, const infonce_result &result) {
  bool goes_round = false, has_columns = false;
  for (int b = 0; b < std::clamp(p.block_count, 0, INFONCE_MOST_BLOCKS); ++b) {
    goes_round |= p.blocks[b].own != INFONCE_OWN_ALONE;
    has_columns |= p.blocks[b].column_softmax >= 0;
  }
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
  for (int s = 0; s < p.softmax_count; ++s) {
    const infonce_softmax &softmax = p.softmaxes[s];
    if (softmax.positive == INFONCE_POSITIVE_TARGET) return "positives by target are not there over a group";
    if (softmax.positive == INFONCE_POSITIVE_NONE) continue;
    if (has_columns || (softmax.positive != INFONCE_POSITIVE_SAME_INDEX && !positives_are_elsewhere_by_id(p)))
      return "this loss is not there over a group";
    if (p.matrices[positives_elsewhere(softmax)].rows != rows_of(p, s))
      return "over a group there are as many keys as anchors";
  }
  return nullptr;
}

RingCall::RingCall(const Post &post, const infonce_backend &backend, infonce_context *context)
    : post_(post), backend_(backend), context_(context), mail_(post) {
  own_failure_.struct_size = sizeof own_failure_;
}

RingCall::~RingCall() {
  if (saved_) backend_.saved_destroy(context_, saved_);
}

void RingCall::check(Kind kind) {
  record_.kind = kind;
  record_.status = status_;
  if (status_ != INFONCE_OK) {
    std::snprintf(record_.message, sizeof record_.message, "%.159s", failure_->message);
    record_.bad_matrix = failure_->matrix;
    record_.bad_row = failure_->row;
  }
  records_ = agree(post_, record_);
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

// What has to be the same on all ranks, beside what the record has anyway.
void RingCall::describe() {
  const infonce_problem &p = problem_;
  record_.scale = p.scale;
  record_.bias = p.bias;
  record_.dim = p.dim;
  Hash hash;
  hash.add(p.matrix_count).add(p.block_count).add(p.softmax_count).add(p.reduction).add(p.normalize).add(p.gradient);
  hash.add(p.propagate_non_finite).add(p.ranks).add(p.guide_dim).add(p.grad_output.count == 0).add(upstream_);
  for (int m = 0; m < p.matrix_count; ++m) {
    const infonce_matrix &matrix = p.matrices[m];
    record_.rows[m] = matrix.rows;
    hash.add(matrix.type).add(matrix.views).add(matrix.ids != nullptr).add(matrix.bias != nullptr);
    hash.add(matrix.counts != nullptr).add(matrix.guide != nullptr).add(local_result_.gradients[m].data != nullptr);
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
  record_.form = hash.value();
}

// Ranks agree on the problem.
infonce_status RingCall::begin(const infonce_problem &problem, const infonce_result &result) {
  problem_ = local_ = problem;
  local_result_ = result;
  cancelled_ = problem.cancelled;
  if (const char *wrong = what_is_wrong_over_ranks(problem, result)) note(invalid(failure_, wrong));
  else note(read_upstream(problem.grad_output));
  if (status_ == INFONCE_OK) describe(), travellers_ = Travellers(problem);
  check(Kind::kLoss);
  if (!computes()) return status_;
  for (const Record &record : records_) all_rows_ += record.rows[problem_.softmaxes[0].anchors];
  if (problem_.reduction == INFONCE_REDUCTION_MEAN) local_.reduction = INFONCE_REDUCTION_SUM;
  return INFONCE_OK;
}

// Calls visit(hop, packed) with the candidates of each rank, its own first, while the next ones are on their way. It
// returns whether all ranks go on; so does this.
template <class Visit> bool RingCall::go_round(Visit &&visit) {
  char *here = own_;
  for (int hop = 0; hop < post_.size(); ++hop) {
    char *there = spare_[hop % 2];
    if (hop + 1 < post_.size()) {
      travellers_.set_failed(here, owner(hop), status_ != INFONCE_OK || neighbour_failed_);
      mail_.send(post_.right(), Channel::kForward, here, travellers_.bytes(owner(hop)));
      mail_.receive(post_.left(), Channel::kForward, there, travellers_.bytes(owner(hop + 1)));
    }
    if (!visit(hop, here)) return false;
    mail_.wait();
    here = there;
    if (hop + 1 < post_.size()) neighbour_failed_ |= travellers_.has_failed(here, owner(hop + 1));
  }
  return true;
}

infonce_part RingCall::part_of(int hop, const char *packed, const Travellers::Traveller &traveller, int block) const {
  infonce_part part{};
  part.struct_size = sizeof part;
  part.block = block;
  part.candidates = travellers_.matrix_in(packed, owner(hop), traveller);
  part.cancelled = cancelled_;
  return part;
}

// Whether all ranks have opened their calls.
bool RingCall::open_and_add() {
  size_t most = 0;
  for (const Record &record : records_) most = std::max(most, travellers_.bytes(record));
  own_ = mail_.memory(travellers_.bytes(owner(0)));
  for (char *&spare : spare_) spare = mail_.memory(most);
  note(travellers_.pack(problem_, backend_, context_, own_, failure_));
  return go_round([&](int hop, const char *packed) {
    if (hop == 0) {
      if (computes() && has_rows()) note(backend_.open(context_, &local_, &saved_, failure_));
      mail_.wait();
      check(Kind::kOpened);
      return computes();
    }
    for (const Travellers::Traveller &traveller : travellers_.all()) {
      if (owner(hop).rows[traveller.matrix] == 0) continue;
      for (const int block : traveller.blocks) {
        const infonce_part part = part_of(hop, packed, traveller, block);
        if (computes() && has_rows()) note(backend_.add(context_, saved_, &part, failure_));
      }
    }
    return true;
  });
}

// Leaves what this rank came to in its record.
infonce_status RingCall::compute_losses() {
  if (travellers_.empty()) {
    if (has_rows()) note(backend_.forward(context_, &local_, &local_result_, &saved_, failure_));
  } else {
    if (!open_and_add()) return status_;
    if (computes() && has_rows()) note(backend_.close(context_, saved_, &local_result_, failure_));
  }
  const infonce_scalars &scalars = local_result_.scalars;
  const double anchors = double(loss_rows()) * problem_.softmax_count;
  record_.sums[kLoss] = has_rows() ? scalars.loss : 0;
  record_.sums[kTop1] = has_rows() ? std::round(scalars.top1 * anchors) : 0;
  record_.sums[kTop5] = has_rows() ? std::round(scalars.top5 * anchors) : 0;
  check(Kind::kLosses);
  return status_;
}

// Of a hop's candidates, from this rank's rows.
void RingCall::compute_share(int hop, const char *packed, float *share) {
  std::vector<float> of_block;
  for (const Travellers::Traveller &traveller : travellers_.all()) {
    const int64_t numbers = owner(hop).rows[traveller.matrix] * problem_.dim;
    if (numbers == 0) continue;
    if (traveller.has_gradient) std::fill_n(share, numbers, 0.f);
    bool is_first = true;
    for (const int block : traveller.blocks) {
      if (!is_first && traveller.has_gradient) of_block.resize(size_t(numbers));
      const infonce_part part = part_of(hop, packed, traveller, block);
      float *const target = !traveller.has_gradient ? nullptr : is_first ? share : of_block.data();
      const infonce_output output = {target, INFONCE_ON_HOST};
      if (computes() && has_rows()) note(backend_.add_gradient(context_, saved_, &part, &output, failure_));
      if (target && !is_first) add_to(share, of_block.data(), numbers);
      is_first = false;
    }
    if (traveller.has_gradient) share += numbers;
  }
}

void RingCall::compute_gradients(infonce_result *result) {
  infonce_upstream upstream{};
  upstream.struct_size = sizeof upstream;
  upstream.grad_output = problem_.grad_output;
  upstream.cancelled = cancelled_;
  if (problem_.reduction == INFONCE_REDUCTION_MEAN) {
    upstream_ = float(double(upstream_) / double(all_rows_));
    upstream.grad_output = {&upstream_, 1, INFONCE_ON_HOST};
  }
  place_gradients(*result);
  if (travellers_.empty()) {
    if (has_rows()) note(backend_.backward(context_, saved_, &upstream, &local_result_, failure_));
    return;
  }
  if (computes() && has_rows()) note(backend_.open_gradient(context_, saved_, &upstream, failure_));
  const auto bytes = [&](int hop) { return size_t(travellers_.numbers(owner(hop))) * sizeof(float); };
  const auto join = [&](char *arrived, const char *share, int hop) {
    add_to(reinterpret_cast<float *>(arrived), reinterpret_cast<const float *>(share), travellers_.numbers(owner(hop)));
  };
  Relay gradients(post_, Channel::kBackward, bytes, join);
  go_round([&](int hop, const char *packed) {
    if (hop == 0) return true;
    compute_share(hop, packed, reinterpret_cast<float *>(gradients.share()));
    gradients.pass_on(hop);
    return true;
  });
  const auto *arrived = reinterpret_cast<const float *>(gradients.come_home());
  if (computes() && has_rows()) note(backend_.close_gradient(context_, saved_, &local_result_, failure_));
  for (const Travellers::Traveller &traveller : travellers_.all()) {
    if (!traveller.has_gradient || !computes()) continue;
    const int64_t numbers = owner(0).rows[traveller.matrix] * problem_.dim;
    add_to(local_result_.gradients[traveller.matrix].data, arrived, numbers);
    arrived += numbers;
  }
}

// Where this rank's gradients are computed; those that are wanted on the device are added up on the host.
void RingCall::place_gradients(const infonce_result &result) {
  local_result_ = result;
  local_result_.scalars.grad_scale = local_result_.scalars.grad_bias = 0;
  travellers_.want_gradients(result);
  for (int m = 0; m < problem_.matrix_count; ++m) {
    infonce_output &gradient = local_result_.gradients[m];
    const int64_t numbers = problem_.matrices[m].rows * problem_.dim;
    if (!gradient.data) continue;
    if (gradient.residence == INFONCE_ON_DEVICE) {
      staged_[m].resize(size_t(numbers));
      gradient = {staged_[m].data(), INFONCE_ON_HOST};
    }
    if (!has_rows()) std::fill_n(gradient.data, numbers, 0.f);
  }
}

void RingCall::deliver_gradients(Gradients gradients, infonce_result *result) {
  for (int m = 0; m < problem_.matrix_count; ++m) {
    const infonce_output &wanted = result->gradients[m], &computed = local_result_.gradients[m];
    if (!wanted.data) continue;
    const int64_t numbers = problem_.matrices[m].rows * problem_.dim;
    const auto size = float(post_.size());
    if (gradients == Gradients::kMean)
      std::transform(computed.data, computed.data + numbers, computed.data, [=](float x) { return x * size; });
    if (wanted.data != computed.data)
      note(backend_.copy(context_, wanted.data, computed.data, numbers * int64_t(sizeof(float)), INFONCE_COPY_TO_DEVICE,
                         failure_));
  }
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
}

infonce_status RingCall::forward(const Record &record, const infonce_problem &problem, infonce_result *result,
                                 infonce_failure *failure) {
  record_ = record;
  failure_ = failure ? failure : &own_failure_;
  infonce_problem without = problem;
  without.gradient = 0;
  without.grad_output = {};
  if (begin(without, *result) != INFONCE_OK || compute_losses() != INFONCE_OK) return status_;
  reduce(Gradients::kSum, &result->scalars);
  return INFONCE_OK;
}

infonce_status RingCall::backward(const Record &record, const infonce_upstream &upstream, Gradients gradients,
                                  infonce_result *result, infonce_failure *failure) {
  Record mine = record_;
  mine.sequence = record.sequence;
  record_ = mine;
  status_ = INFONCE_OK;
  neighbour_failed_ = false;
  failure_ = failure ? failure : &own_failure_;
  problem_.gradient = 1;
  problem_.grad_output = upstream.grad_output;
  cancelled_ = upstream.cancelled;
  infonce_problem checked = problem_;
  if (const char *wrong = has_rows() ? what_is_wrong_with_backward(&checked, upstream, *result) : nullptr)
    note(invalid(failure_, wrong));
  else note(read_upstream(upstream.grad_output));
  Hash hash;
  hash.add(record_.form).add(upstream_).add(gradients);
  for (const infonce_output &gradient : result->gradients) hash.add(gradient.data != nullptr);
  record_.form = hash.value();
  check(Kind::kBackward);
  record_.form = mine.form;
  if (!computes()) return status_;
  compute_gradients(result);
  if (computes()) deliver_gradients(gradients, result);
  record_.sums[kGradScale] = local_result_.scalars.grad_scale;
  record_.sums[kGradBias] = local_result_.scalars.grad_bias;
  check(Kind::kGradients);
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
  if (compute_losses() != INFONCE_OK) return status_;
  if (problem.gradient) {
    compute_gradients(result);
    if (computes()) deliver_gradients(gradients, result);
    record_.sums[kGradScale] = local_result_.scalars.grad_scale;
    record_.sums[kGradBias] = local_result_.scalars.grad_bias;
    check(Kind::kGradients);
    if (!computes()) return status_;
  }
  const infonce_scalars before = result->scalars;
  reduce(gradients, &result->scalars);
  if (!problem.gradient) result->scalars.grad_scale = before.grad_scale, result->scalars.grad_bias = before.grad_bias;
  return INFONCE_OK;
}

}  // namespace infonce::group

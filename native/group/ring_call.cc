#include "group/ring_call.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>

#include "common/call.h"
#include "group/group.h"

namespace infonce::group {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// In Record::sums.
enum Sum { kLoss, kTop1, kTop5, kGradScale, kGradBias };

void add_to(float *sums, const float *numbers, int64_t count) {
  for (int64_t i = 0; i < count; ++i) sums[i] += numbers[i];
}

}  // namespace

const char *what_is_wrong_over_ranks(const infonce_problem &p, const infonce_result &result) {
  bool goes_round = false, has_columns = false;
  for (int b = 0; b < std::clamp(p.block_count, 0, INFONCE_MOST_BLOCKS); ++b) {
    goes_round |= p.blocks[b].own != INFONCE_OWN_ALONE;
    has_columns |= p.blocks[b].column_softmax >= 0;
  }
  if (!goes_round) {
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
    if (has_columns || softmax.positive != INFONCE_POSITIVE_SAME_INDEX) return "this loss is not there over a group";
    if (p.matrices[positives_elsewhere(softmax)].rows != rows_of(p, s))
      return "over a group there are as many keys as anchors";
  }
  return nullptr;
}

RingCall::RingCall(Transport &transport, double patience, const infonce_backend &backend, infonce_context *context,
                   const infonce_problem &problem, infonce_result *result, infonce_failure *failure)
    : transport_(transport),
      patience_(patience),
      backend_(backend),
      context_(context),
      given_(problem),
      result_(result),
      failure_(failure ? failure : &own_failure_),
      rank_(transport.rank()),
      size_(transport.size()),
      local_(problem),
      local_result_(*result),
      travellers_(given_, *result),
      rows_mail_(transport, patience),
      gradient_mail_(transport, patience) {
  own_failure_.struct_size = sizeof own_failure_;
}

RingCall::~RingCall() {
  if (saved_) backend_.saved_destroy(context_, saved_);
}

void RingCall::check(Kind kind) {
  record_.kind = kind;
  record_.status = status_;
  if (!computes()) {
    std::snprintf(record_.message, sizeof record_.message, "%.159s", failure_->message);
    record_.bad_matrix = failure_->matrix;
    record_.bad_row = failure_->row;
  }
  records_ = agree(transport_, patience_, record_);
}

// What has to be the same on all ranks, beside what the record has anyway.
infonce_status RingCall::describe() {
  const infonce_problem &p = given_;
  const infonce_grad_output &upstream = p.grad_output;
  if (p.reduction != INFONCE_REDUCTION_NONE && upstream.count == 1) {
    if (upstream.residence == INFONCE_ON_HOST) upstream_ = upstream.data[0];
    else if (const infonce_status status = backend_.copy(context_, &upstream_, upstream.data, sizeof upstream_,
                                                         INFONCE_COPY_FROM_DEVICE, failure_))
      return status;
  }
  record_.scale = p.scale;
  record_.bias = p.bias;
  record_.dim = p.dim;
  Hash hash;
  hash.add(p.matrix_count).add(p.block_count).add(p.softmax_count).add(p.reduction).add(p.normalize).add(p.gradient);
  hash.add(p.propagate_non_finite).add(p.ranks).add(p.guide_dim).add(p.grad_output.count == 0);
  hash.add(upstream_);
  for (int m = 0; m < p.matrix_count; ++m) {
    const infonce_matrix &matrix = p.matrices[m];
    record_.rows[m] = matrix.rows;
    hash.add(matrix.type).add(matrix.views).add(matrix.ids != nullptr).add(matrix.bias != nullptr);
    hash.add(matrix.counts != nullptr).add(matrix.guide != nullptr).add(result_->gradients[m].data != nullptr);
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
  return INFONCE_OK;
}

// Makes this rank's problem of everyone's: sums, which are divided at the end, so that ranks may have any number of rows.
void RingCall::localize() {
  for (const Record &record : records_) all_rows_ += record.rows[given_.softmaxes[0].anchors];
  if (given_.reduction != INFONCE_REDUCTION_MEAN) return;
  local_.reduction = INFONCE_REDUCTION_SUM;
  upstream_ = float(double(upstream_) / double(all_rows_));
  local_.grad_output = {&upstream_, 1, INFONCE_ON_HOST};
}

// Calls visit(hop, packed) with the candidates of each rank, its own first, while the next ones are on their way. It
// returns whether all ranks go on; so does this.
template <class Visit> bool RingCall::go_round(Visit &&visit) {
  const int right = (rank_ + 1) % size_, left = (rank_ + size_ - 1) % size_;
  char *here = own_;
  for (int hop = 0; hop < size_; ++hop) {
    char *there = spare_[hop % 2];
    if (hop + 1 < size_) {
      travellers_.set_failed(here, owner(hop), status_ != INFONCE_OK || neighbour_failed_);
      rows_mail_.send(right, Channel::kForward, here, travellers_.bytes(owner(hop)));
      rows_mail_.receive(left, Channel::kForward, there, travellers_.bytes(owner(hop + 1)));
    }
    if (!visit(hop, here)) return false;
    rows_mail_.wait();
    here = there;
    if (hop + 1 < size_) neighbour_failed_ |= travellers_.has_failed(here, owner(hop + 1));
  }
  return true;
}

infonce_part RingCall::part_of(int hop, const char *packed, const Travellers::Traveller &traveller, int block) const {
  infonce_part part{};
  part.struct_size = sizeof part;
  part.block = block;
  part.candidates = travellers_.matrix_in(packed, owner(hop), traveller);
  part.cancelled = given_.cancelled;
  return part;
}

// Whether all ranks have opened their calls.
bool RingCall::compute_losses() {
  size_t most = 0;
  for (const Record &record : records_) most = std::max(most, travellers_.bytes(record));
  own_ = rows_mail_.memory(travellers_.bytes(owner(0)));
  for (char *&spare : spare_) spare = rows_mail_.memory(most);
  note(travellers_.pack(backend_, context_, own_, failure_));
  const bool opened = go_round([&](int hop, const char *packed) {
    if (hop == 0) {
      if (computes()) note(backend_.open(context_, &local_, &saved_, failure_));
      rows_mail_.wait();
      check(Kind::kOpened);
      return computes();
    }
    for (const Travellers::Traveller &traveller : travellers_.all()) {
      if (owner(hop).rows[traveller.matrix] == 0) continue;
      for (const int block : traveller.blocks) {
        const infonce_part part = part_of(hop, packed, traveller, block);
        if (computes()) note(backend_.add(context_, saved_, &part, failure_));
      }
    }
    return true;
  });
  if (computes()) note(backend_.close(context_, saved_, &local_result_, failure_));
  return opened;
}

// Of a hop's candidates, from this rank's rows.
void RingCall::compute_share(int hop, const char *packed, float *share, float *of_block) {
  for (const Travellers::Traveller &traveller : travellers_.all()) {
    const int64_t numbers = owner(hop).rows[traveller.matrix] * given_.dim;
    if (numbers == 0) continue;
    bool is_first = true;
    for (const int block : traveller.blocks) {
      const infonce_part part = part_of(hop, packed, traveller, block);
      float *const target = !traveller.has_gradient ? nullptr : is_first ? share : of_block;
      const infonce_output output = {target, INFONCE_ON_HOST};
      if (computes()) note(backend_.add_gradient(context_, saved_, &part, &output, failure_));
      if (target && !is_first) add_to(share, of_block, numbers);
      is_first = false;
    }
    if (traveller.has_gradient) share += numbers;
  }
}

void RingCall::compute_gradients() {
  infonce_upstream upstream{};
  upstream.struct_size = sizeof upstream;
  upstream.grad_output = local_.grad_output;
  upstream.cancelled = given_.cancelled;
  if (computes()) note(backend_.open_gradient(context_, saved_, &upstream, failure_));
  int64_t most = 0;
  for (const Record &record : records_) most = std::max(most, travellers_.numbers(record));
  const auto new_sums = [&] {
    float *sums = gradient_mail_.array<float>(size_t(most));
    std::fill_n(sums, most, 0.f);
    return sums;
  };
  float *share = new_sums(), *of_block = new_sums(), *sent = nullptr, *arriving = new_sums(), *third = new_sums();
  const int right = (rank_ + 1) % size_, left = (rank_ + size_ - 1) % size_;
  const auto bytes = [&](int hop) { return size_t(travellers_.numbers(owner(hop))) * sizeof(float); };
  go_round([&](int hop, const char *packed) {
    if (hop == 0) return true;
    compute_share(hop, packed, share, of_block);
    if (hop == 1) {
      std::swap(share, third);
      sent = third;
      third = nullptr;
    } else {
      gradient_mail_.wait();
      add_to(arriving, share, travellers_.numbers(owner(hop)));
      std::swap(sent, arriving);
    }
    gradient_mail_.send(right, Channel::kBackward, sent, bytes(hop));
    // Of whom comes next; at last of this rank itself.
    gradient_mail_.receive(left, Channel::kBackward, arriving, bytes(hop + 1));
    return true;
  });
  gradient_mail_.wait();
  if (!computes()) return;
  stage_gradients();
  note(backend_.close_gradient(context_, saved_, &local_result_, failure_));
  if (!computes()) return;
  for (const Travellers::Traveller &traveller : travellers_.all()) {
    if (!traveller.has_gradient) continue;
    const int64_t numbers = owner(0).rows[traveller.matrix] * given_.dim;
    add_to(local_result_.gradients[traveller.matrix].data, arriving, numbers);
    arriving += numbers;
  }
}

// Gradients that the caller wants on the device are added up on the host.
void RingCall::stage_gradients() {
  for (int m = 0; m < given_.matrix_count; ++m) {
    infonce_output &gradient = local_result_.gradients[m];
    if (!gradient.data || gradient.residence == INFONCE_ON_HOST) continue;
    staged_[m].resize(size_t(given_.matrices[m].rows * given_.dim));
    gradient = {staged_[m].data(), INFONCE_ON_HOST};
  }
}

void RingCall::deliver_gradients(Gradients gradients) {
  for (int m = 0; m < given_.matrix_count; ++m) {
    const infonce_output &wanted = result_->gradients[m], &computed = local_result_.gradients[m];
    if (!wanted.data) continue;
    const int64_t numbers = given_.matrices[m].rows * given_.dim;
    if (gradients == Gradients::kMean)
      std::transform(computed.data, computed.data + numbers, computed.data, [&](float x) { return x * float(size_); });
    if (wanted.data != computed.data)
      note(backend_.copy(context_, wanted.data, computed.data, numbers * int64_t(sizeof(float)), INFONCE_COPY_TO_DEVICE,
                         failure_));
  }
}

// Adds up what the ranks came to.
void RingCall::reduce(Gradients gradients) {
  double sums[std::size(Record().sums)] = {};
  for (const Record &record : records_)
    for (size_t k = 0; k < std::size(sums); ++k) sums[k] += record.sums[k];
  const double anchors = double(all_rows_) * given_.softmax_count;
  const double share = gradients == Gradients::kSum ? 1. / size_ : 1;
  infonce_scalars &scalars = result_->scalars;
  scalars.loss = given_.reduction == INFONCE_REDUCTION_MEAN ? sums[kLoss] / double(all_rows_) : sums[kLoss];
  scalars.top1 = given_.ranks ? sums[kTop1] / anchors : kNaN;
  scalars.top5 = given_.ranks ? sums[kTop5] / anchors : kNaN;
  if (given_.gradient) {
    scalars.grad_scale = sums[kGradScale] * share;
    scalars.grad_bias = sums[kGradBias] * share;
  }
}

infonce_status RingCall::run(const Record &record, Gradients gradients) {
  record_ = record;
  if (const char *wrong = what_is_wrong_over_ranks(given_, *result_)) note(invalid(failure_, wrong));
  else note(describe());
  check(Kind::kLoss);
  if (!computes()) return status_;
  localize();
  if (travellers_.empty()) note(backend_.run(context_, &local_, &local_result_, failure_));
  else if (!compute_losses()) return status_;
  const infonce_scalars &scalars = local_result_.scalars;
  const double anchors = double(loss_rows()) * given_.softmax_count;
  record_.sums[kLoss] = scalars.loss;
  record_.sums[kTop1] = std::round(scalars.top1 * anchors);
  record_.sums[kTop5] = std::round(scalars.top5 * anchors);
  if (given_.gradient && !travellers_.empty()) {
    check(Kind::kLosses);
    if (!computes()) return status_;
    compute_gradients();
  }
  record_.sums[kGradScale] = scalars.grad_scale;
  record_.sums[kGradBias] = scalars.grad_bias;
  if (computes() && given_.gradient) deliver_gradients(gradients);
  check(Kind::kGradients);
  if (computes()) reduce(gradients);
  return status_;
}

}  // namespace infonce::group

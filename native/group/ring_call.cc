#include "group/ring_call.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <list>

#include "common/call.h"
#include "common/smoothing.h"
#include "group/column_sums.h"
#include "group/form_over_ranks.h"
#include "group/relay.h"

namespace infonce::group {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// In Record::sums.
enum Sum { kLoss, kTop1, kTop5, kGradScale, kGradBias };

template <class Number> void add_to(Number *sums, const Number *numbers, int64_t count) {
  for (int64_t i = 0; i < count; ++i) sums[i] += numbers[i];
}

}  // namespace

RingCall::RingCall(const Post &post, const infonce_backend &backend, infonce_context *context)
    : post_(post.with(MemoryKind::of(backend, context))), backend_(backend), context_(context) {
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
  if (problem_.softmaxes[0].positive == INFONCE_POSITIVE_SAME_ID && has_rows()) {
    const int32_t *const ids = problem_.matrices[problem_.softmaxes[0].anchors].ids;
    const auto [least, largest] = std::minmax_element(ids, ids + loss_rows());
    record_.least_id = *least;
    record_.largest_id = *largest;
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
  if (has_targets(problem_)) {
    targets_ = std::make_unique<TargetRows>(post_, records_, problem_);
    note(targets_->fetch(problem_, backend_, context_, failure_));
    local_ = targets_->by_index(local_);
  }
  for (int s = 0; s < problem_.softmax_count; ++s)
    if (local_.softmaxes[s].label_smoothing != 0) local_.softmaxes[s].further_candidates = candidates_elsewhere(s);
  of_rows_.emplace(travels_on_device() ? post_.with(MemoryKind::on_device_of(backend_, context_)) : post_);
  return INFONCE_OK;
}

// But for positives by target, which are fetched and brought home on the host.
bool RingCall::travels_on_device() const {
  return backend_.combine && post_.transport.takes_memory_of(backend_.host_device(context_)) && !targets_;
}

// Memory is taken where all ranks learn of it if one has none.
template <class Take> void RingCall::take_memory(Take &&take) {
  if (status_ != INFONCE_OK) return;
  note(guarded(failure_, [&] {
    take();
    return INFONCE_OK;
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

// Which of a traveller's rows meet which of this rank's at this hop. Rows of every block stand for those of a softmax.
RingCall::Meeting RingCall::meeting_of(const Traveller &traveller, const infonce_block &block, int hop) const {
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
infonce_travelling_rows RingCall::rows_from(const infonce_travelling_rows &rows, int64_t first) {
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

// Of what weights of positives are made of.
void RingCall::read_log_mean() {
  infonce_travelling_rows rows{};
  double log_mean = 0;
  rows.positives_log_mean = &log_mean;
  note(backend_.read_rows(context_, saved_, 0, &rows, failure_));
  record_.positives_log_sum = log_mean + std::log(double(loss_rows()));
}

double RingCall::log_mean_of_all() const {
  double largest = -std::numeric_limits<double>::infinity(), sum = 0;
  for (const Record &record : records_) largest = std::max(largest, record.positives_log_sum);
  for (const Record &record : records_) sum += std::exp(record.positives_log_sum - largest);
  return largest + std::log(sum / double(all_rows_));
}

// Where ranks of positives by label are wanted.
std::optional<FirstPositives> RingCall::find_first_positives() {
  if (!problem_.ranks || problem_.softmaxes[0].positive != INFONCE_POSITIVE_SAME_ID) return std::nullopt;
  const Traveller &anchors = travellers_.all().front();
  infonce_matrix own = travellers_.matrix_in(ring_->own_rows(), ring_->owner(0), anchors, 0);
  std::vector<char> on_host;
  if (own.residence == INFONCE_ON_DEVICE) {
    on_host.resize(size_t(own.rows * problem_.dim) * size_of(own.type));
    if (computes()) note(pack_rows(own, problem_.dim, backend_, context_, on_host.data(), failure_));
    own.data = on_host.data();
    own.residence = INFONCE_ON_HOST;
  }
  return std::optional<FirstPositives>(std::in_place, post_, records_, own, anchors.matrix, problem_.dim);
}

// Whether all ranks have opened their calls.
bool RingCall::open_and_add() {
  std::list<Relay> sums;  // of travellers with columns
  take_memory([&] { ring_ = std::make_unique<Ring>(post_, *of_rows_, travellers_, records_); });
  for (const Traveller &traveller : travellers_.all()) {
    if (traveller.softmax == kNone || !ring_) continue;
    const ColumnSums::Kinds kinds = traveller.columns;
    const auto size = [this, m = traveller.matrix, kinds](int hop) {
      return ColumnSums::bytes(ring_->owner(hop).rows[m], kinds);
    };
    const auto join = [this, m = traveller.matrix, kinds](char *arrived, const char *share, int hop) {
      ColumnSums::join(arrived, share, ring_->owner(hop).rows[m], kinds);
    };
    take_memory([&] { sums.emplace_back(post_, Channel::kBackward, traveller.hops, size, join); });
  }
  if (local_.gradient) take_memory_for_gradients();
  check(Kind::kOpened);
  if (!computes()) return false;
  note(travellers_.pack(problem_, backend_, context_, ring_->own_rows(), failure_));
  const std::optional<FirstPositives> first_positives = find_first_positives();
  infonce_problem to_open = local_;
  if (first_positives) first_positives->add_to(&to_open);
  const int arrays = problem_.ranks ? 1 : 0;
  const auto add = [&](const infonce_part &part, const Meeting &) {
    return backend_.add(context_, saved_, &part, failure_);
  };
  const bool opened = ring_->go_round(arrays, status_, [&](int hop, const Packed &rows, char *columns) {
    const Record &owner = ring_->owner(hop);
    auto relay = sums.begin();
    if (hop == 0) {
      if (computes() && has_rows()) note(backend_.open(context_, &to_open, &saved_, failure_));
      if (weighs_positives() && computes() && has_rows()) read_log_mean();
      ring_->wait();
      check(Kind::kOpened);
      if (!computes()) return false;
    }
    for (const Traveller &traveller : travellers_.all()) {
      infonce_travelling_rows travelling{};
      if (traveller.softmax == kNone) {
        visit(traveller, hop, rows, travelling, add);
        continue;
      }
      if (arrays > 0) travelling.rank = travellers_.columns_in(columns, owner, traveller, arrays);
      if (hop == 0) {
        if (arrays > 0 && has_rows())
          note(backend_.read_rows(context_, saved_, traveller.softmax, &travelling, failure_));
      } else if (hop <= traveller.hops) {
        ColumnSums share(relay->share(), owner.rows[traveller.matrix], traveller.columns);
        share.clear();
        double *const rank = travelling.rank;
        travelling = share.rows();
        travelling.rank = rank;
        visit(traveller, hop, rows, travelling, add);
        relay->pass_on(hop);
      }
      ++relay;
    }
    return true;
  });
  if (!opened) return false;
  double log_mean = log_mean_of_all();
  auto relay = sums.begin();
  for (const Traveller &traveller : travellers_.all()) {
    if (traveller.softmax == kNone) continue;
    const ColumnSums home(relay->come_home(), ring_->owner(0).rows[traveller.matrix], traveller.columns);
    infonce_travelling_rows rows = home.rows();
    rows.positives_log_mean = &log_mean;
    if (computes() && has_rows()) note(backend_.join_rows(context_, saved_, traveller.softmax, &rows, failure_));
    ++relay;
  }
  return true;
}

// Positives by label that have terms of their own meet again, when the sums that they stand beside are complete.
void RingCall::add_terms() {
  const Traveller &anchors = travellers_.all().front();
  const auto numbers = [this, m = anchors.matrix](int hop) { return 2 * ring_->owner(hop).rows[m]; };
  const auto size = [numbers](int hop) { return size_t(numbers(hop)) * sizeof(double); };
  const auto join = [numbers](char *arrived, const char *share, int hop) {
    add_to(reinterpret_cast<double *>(arrived), reinterpret_cast<const double *>(share), numbers(hop));
  };
  const auto terms_in = [](char *memory, int64_t rows) {
    infonce_travelling_rows terms{};
    terms.term_losses = reinterpret_cast<double *>(memory);
    terms.term_shares = terms.term_losses + rows;
    return terms;
  };
  Relay relay(post_, Channel::kBackward, anchors.hops, size, join);
  ring_->go_round(1, status_, [&](int hop, const Packed &rows, char *columns) {
    double *const log_sum = travellers_.columns_in(columns, ring_->owner(hop), anchors, 1);
    if (hop == 0) {
      infonce_travelling_rows own{};
      own.log_sum = log_sum;
      if (computes() && has_rows()) note(backend_.read_rows(context_, saved_, anchors.softmax, &own, failure_));
      return true;
    }
    infonce_travelling_rows travelling = terms_in(relay.share(), numbers(hop) / 2);
    travelling.log_sum = log_sum;
    std::fill_n(travelling.term_losses, numbers(hop), 0.0);
    visit(anchors, hop, rows, travelling, [&](infonce_part part, const Meeting &) {
      part.terms = 1;
      part.number = 0;
      return backend_.add(context_, saved_, &part, failure_);
    });
    relay.pass_on(hop);
    return true;
  });
  const infonce_travelling_rows home = terms_in(relay.come_home(), loss_rows());
  if (computes() && has_rows()) note(backend_.join_rows(context_, saved_, anchors.softmax, &home, failure_));
}

// Leaves what this rank came to in its record.
infonce_status RingCall::compute_losses() {
  if (travellers_.empty()) {
    if (has_rows()) note(backend_.forward(context_, &local_, &local_result_, &saved_, failure_));
  } else {
    if (!open_and_add()) return status_;
    if (has_terms()) add_terms();
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
  visit(traveller, hop, rows, travelling, [&](const infonce_part &part, const Meeting &meeting) {
    const int64_t first = meeting.first_visitor * problem_.dim;
    auto *const of_block = reinterpret_cast<float *>(of_block_.bytes());
    const infonce_output output = {!share ? nullptr : is_first ? share + first : of_block, of_rows_->kind.residence()};
    const infonce_status status = backend_.add_gradient(context_, saved_, &part, &output, failure_);
    if (share && !is_first && status == INFONCE_OK) add(share + first, of_block, meeting.visitors * problem_.dim);
    is_first = false;
    return status;
  });
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
  std::vector<float> on_host(static_cast<size_t>(count));
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
  local_result_.scalars.grad_scale = local_result_.scalars.grad_bias = 0;
  if (travellers_.empty()) {
    if (has_rows()) note(backend_.backward(context_, saved_, &upstream, &local_result_, failure_));
    return;
  }
  if (computes() && has_rows()) note(backend_.open_gradient(context_, saved_, &upstream, failure_));
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
          compute_share(traveller, hop, rows, columns, reinterpret_cast<float *>(relay->share()));
          relay->pass_on(hop);
        }
        ++relay;
      }
    }
    return true;
  });
  if (computes() && has_rows()) note(backend_.close_gradient(context_, saved_, &local_result_, failure_));
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
  for (const Traveller &traveller : travellers_.all()) {
    if (!traveller.has_gradient) continue;
    const auto numbers = [this, m = traveller.matrix](int hop) { return ring_->owner(hop).rows[m] * problem_.dim; };
    const auto size = [numbers](int hop) { return size_t(numbers(hop)) * sizeof(float); };
    const auto join = [this, numbers](char *arrived, const char *share, int hop) {
      add(reinterpret_cast<float *>(arrived), reinterpret_cast<const float *>(share), numbers(hop));
    };
    take_memory([&] {
      gradients_.emplace_back(*of_rows_, Channel::kBackward, traveller.hops, size, join);
      for (int hop = 1; traveller.blocks.size() > 1 && hop <= traveller.hops; ++hop)
        if (of_block_.size() < size(hop)) of_block_ = Memory::Piece(size(hop), of_rows_->kind);
    });
  }
}

void RingCall::complete_gradients(Gradients gradients, infonce_result *result) {
  compute_gradients();
  if (computes()) deliver_gradients(gradients, result);
  record_.sums[kGradScale] = local_result_.scalars.grad_scale;
  record_.sums[kGradBias] = local_result_.scalars.grad_bias;
  check(Kind::kGradients);
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
  if (!targets_) return;
  gradient_of_keys_ = local_result_.gradients[targets_->keys()];
  local_result_.gradients[targets_->matrix()] = {targets_->gradient(), INFONCE_ON_HOST};
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
  infonce_problem without = problem;
  without.gradient = 0;
  without.grad_output = {};
  if (post_.size() == 1) return backend_.forward(context_, &without, result, &saved_, failure);
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
  cancelled_ = upstream.cancelled;
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

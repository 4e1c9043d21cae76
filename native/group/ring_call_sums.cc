// The losses of a call over ranks: sums over candidates, which travel as parts of the ranks' calls.
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "common/call.h"
#include "group/column_sums.h"
#include "group/numbers.h"
#include "group/ring_call_visits.h"

namespace infonce::group {

// From which the weights of positives are computed.
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

const char *RingCall::own_rows_of(int matrix) {
  if (matrix == kNone) return nullptr;
  const bool stays = memory_stays_ && matrix == memory_of(problem_);
  const infonce_matrix packed =
      stays ? problem_.matrices[matrix]
            : travellers_.matrix_in(ring_->own_rows(), ring_->owner(0), travellers_.of(matrix), 0);
  const bool has_gaps = row_stride_of(packed, problem_.dim) != problem_.dim;
  if (packed.residence == INFONCE_ON_HOST && !has_gaps) return static_cast<const char *>(packed.data);
  char *const rows = rows_on_host_[matrix].data();
  if (computes()) note(pack_rows(packed, problem_.dim, backend_, context_, rows, failure_));
  return rows;
}

// Whether all ranks have opened their calls.
bool RingCall::open_and_add() {
  std::list<Relay> sums;  // of travellers with columns
  std::optional<FirstPositives> first_positives;
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
  if (ring_ && has_terms()) take_memory_for_terms();
  take_memory_for_what_stays();
  if (problem_.ranks && problem_.softmaxes[0].positive == INFONCE_POSITIVE_SAME_ID)
    take_memory([&] {
      first_positives.emplace(post_, records_, problem_);
      for (const int m : {anchors(), memory_of(problem_)}) {
        if (m == kNone) continue;
        const infonce_matrix &matrix = problem_.matrices[m];
        const bool stays = memory_stays_ && m == memory_of(problem_);
        const bool is_ready =
            matrix.residence == INFONCE_ON_HOST && row_stride_of(matrix, problem_.dim) == problem_.dim;
        if (stays ? is_ready : !of_rows_->kind.is_on_device()) continue;
        rows_on_host_[m].resize(size_t(matrix.rows * problem_.dim) * size_of(matrix.type));
      }
    });
  if (local_.gradient) take_memory_for_gradients();
  check(Kind::kOpened);
  if (!computes()) return false;
  note(guarded(failure_, [&] { return travellers_.pack(local_, backend_, context_, ring_->own_rows(), failure_); }));
  keep_candidates_here();
  if (first_positives) first_positives->find(own_rows_of(anchors()), own_rows_of(memory_of(problem_)));
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
      open_memory();
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
        if (traveller.are_anchors) sum_for_visitors(hop, rows, travelling);
        else visit(traveller, hop, rows, travelling, add);
        if (traveller.matrix == anchors()) add_to_memory(hop, rows, travelling, false);
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

// Of the positives of rows that travel: losses and shares, one after the other.
void RingCall::take_memory_for_terms() {
  const auto numbers = [this](int hop) { return 2 * ring_->owner(hop).rows[anchors()]; };
  const auto size = [numbers](int hop) { return size_t(numbers(hop)) * sizeof(double); };
  const auto join = [numbers](char *arrived, const char *share, int hop) {
    const auto *from = reinterpret_cast<const double *>(share);
    std::transform(from, from + numbers(hop), reinterpret_cast<double *>(arrived), reinterpret_cast<double *>(arrived),
                   std::plus<>());
  };
  take_memory([&] { terms_.emplace(post_, Channel::kBackward, travellers_.of(anchors()).hops, size, join); });
}

// Positives by label that have terms of their own meet again, when the sums that they stand beside are complete.
void RingCall::add_terms() {
  const Traveller &rows_of_loss = travellers_.of(anchors());
  const auto rows_at = [this](int hop) { return ring_->owner(hop).rows[anchors()]; };
  const auto add = [&](infonce_part part, const Meeting &) {
    part.terms = 1;
    part.number = 0;
    return backend_.add(context_, saved_, &part, failure_);
  };
  const auto terms_in = [](char *memory, int64_t rows) {
    infonce_travelling_rows terms{};
    terms.term_losses = reinterpret_cast<double *>(memory);
    terms.term_shares = terms.term_losses + rows;
    return terms;
  };
  ring_->go_round(1, status_, [&](int hop, const Packed &rows, char *columns) {
    double *const log_sum = travellers_.columns_in(columns, ring_->owner(hop), rows_of_loss, 1);
    if (hop == 0) {
      infonce_travelling_rows own{};
      own.log_sum = log_sum;
      if (computes() && has_rows()) note(backend_.read_rows(context_, saved_, 0, &own, failure_));
      return true;
    }
    const int memory = memory_of(problem_);
    if (memory != kNone && !memory_stays_) visit(travellers_.of(memory), hop, rows, {}, add);
    if (hop > rows_of_loss.hops) return true;
    infonce_travelling_rows travelling = terms_in(terms_->share(), rows_at(hop));
    travelling.log_sum = log_sum;
    std::fill_n(travelling.term_losses, 2 * rows_at(hop), 0.0);
    visit(rows_of_loss, hop, rows, travelling, add);
    add_to_memory(hop, rows, travelling, true);
    terms_->pass_on(hop);
    return true;
  });
  const infonce_travelling_rows home = terms_in(terms_->come_home(), loss_rows());
  if (computes() && has_rows()) note(backend_.join_rows(context_, saved_, 0, &home, failure_));
  terms_.reset();
}

// Writes this rank's totals to its record.
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
  record_.sums[kLoss] = is_nan_ ? kNaN : has_rows() ? scalars.loss : 0;
  record_.sums[kTop1] = has_rows() ? std::round(scalars.top1 * anchors) : 0;
  record_.sums[kTop5] = has_rows() ? std::round(scalars.top5 * anchors) : 0;
  check(Kind::kLosses);
  is_nan_ = problem_.propagate_non_finite && is_nan_in(kLoss);
  if (is_nan_) fill_losses_with_nan();
  return status_;
}

// Of a call in which one rank has met NaN.
void RingCall::fill_losses_with_nan() {
  if (problem_.reduction == INFONCE_REDUCTION_NONE) fill_with_nan(local_result_.row_loss, loss_rows());
  for (int s = 0; s < problem_.softmax_count; ++s) {
    const infonce_row_results &rows = local_result_.rows[s];
    if (rows.loss) std::fill_n(rows.loss, rows_of(problem_, s), kNaN);
    if (rows.above && problem_.ranks) std::fill_n(rows.above, rows_of(problem_, s), -1);
  }
}

}  // namespace infonce::group

// Anchors that go round in place of candidates: at each rank they are those of a call of their own, in which they meet that
// rank's candidates as parts. Their sums and gradients go on with them; those of the candidates stay.
#include <algorithm>
#include <cmath>
#include <memory>

#include "common/call.h"
#include "group/ring_call_visits.h"
#include "group/smaller_side.h"

namespace infonce::group {
namespace {

// A call of visitors, which ends with their visit.
struct Visit {
  Visit(const infonce_backend &backend, infonce_context *context) : backend(backend), context(context) {}
  ~Visit() {
    if (saved) backend.saved_destroy(context, saved);
  }
  Visit(const Visit &) = delete;
  Visit &operator=(const Visit &) = delete;

  const infonce_backend &backend;
  infonce_context *const context;
  infonce_saved *saved = nullptr;
};

}  // namespace

// What stays is looked up in the problem, as the caller has it.
bool RingCall::have_pairs_here(int hop) const {
  const Traveller &anchors = *travellers_.anchors();
  const auto has_rows_here = [&](int block) { return problem_.matrices[problem_.blocks[block].candidates].rows > 0; };
  return ring_->owner(hop).rows[anchors.matrix] > 0 &&
         std::any_of(anchors.blocks.begin(), anchors.blocks.end(), has_rows_here);
}

infonce_problem RingCall::problem_of_visitors(int hop, const Packed &rows) const {
  const Traveller &anchors = *travellers_.anchors();
  const Record &owner = ring_->owner(hop);
  infonce_matrix visitors = travellers_.matrix_in(rows, owner, anchors, 0);
  if (!ids_apart_.empty()) visitors.ids = ids_apart_.data();
  infonce_matrix positives = visitors;
  if (visit_with_positives(problem_))
    positives = travellers_.matrix_in(rows, owner, travellers_.of(positives_elsewhere(problem_.softmaxes[0])), 0);
  return group::problem_of_visitors(local_, anchors.blocks, visitors, positives);
}

// Calls visit(part, index among the blocks) for what is here of each block.
template <class Visit> void RingCall::visit_here(Visit &&visit) {
  const std::vector<int> &blocks = travellers_.anchors()->blocks;
  for (size_t k = 0; k < blocks.size(); ++k) {
    infonce_part part{};
    part.struct_size = sizeof part;
    part.block = int32_t(k);
    part.candidates = problem_.matrices[problem_.blocks[blocks[k]].candidates];
    if (!ids_apart_.empty()) part.candidates.ids = &ids_apart_.back() + 1 - part.candidates.rows;
    part.cancelled = cancelled_;
    if (computes() && part.candidates.rows > 0) note(visit(part, k));
  }
}

// A failure names the matrix of the caller's problem.
template <class Step> infonce_status RingCall::of_visitors(Step &&step) {
  const infonce_status status = step();
  if (status != INFONCE_NON_FINITE || failure_->matrix < 0) return status;
  const int guide = failure_->matrix >= INFONCE_GUIDE_OF ? INFONCE_GUIDE_OF : 0, matrix = failure_->matrix - guide;
  const Traveller &visitors = *travellers_.anchors();
  failure_->matrix =
      guide + (matrix < 2 ? visitors.matrix : problem_.blocks[visitors.blocks[size_t(matrix - 2)]].candidates);
  return status;
}

void RingCall::sum_for_visitors(int hop, const Packed &rows, const infonce_travelling_rows &sums) {
  if (!computes() || !have_pairs_here(hop)) return;
  const infonce_problem problem = problem_of_visitors(hop, rows);
  Visit call(backend_, context_);
  note(of_visitors([&] { return backend_.open(context_, &problem, &call.saved, failure_); }));
  infonce_travelling_rows ranks{}, met{};
  ranks.rank = sums.rank;
  met.log_sum = sums.log_sum;
  if (problem_.ranks) met.above = sums.above;
  if (computes() && problem_.ranks) note(backend_.join_rows(context_, call.saved, 0, &ranks, failure_));
  visit_here([&](const infonce_part &part, size_t) {
    return of_visitors([&] { return backend_.add(context_, call.saved, &part, failure_); });
  });
  if (computes()) note(backend_.read_rows(context_, call.saved, 0, &met, failure_));
  double *const end = met.log_sum + problem.matrices[0].rows;
  is_nan_ |= computes() && std::any_of(met.log_sum, end, [](double sum) { return std::isnan(sum); });
}

void RingCall::compute_share_of_visitors(int hop, const Packed &rows, char *columns, float *share) {
  if (!computes()) return;
  const Traveller &anchors = *travellers_.anchors();
  const infonce_problem problem = problem_of_visitors(hop, rows);
  const int64_t visitors = ring_->owner(hop).rows[anchors.matrix];
  if (!have_pairs_here(hop)) return clear(share, visitors * problem_.dim);
  const infonce_travelling_rows weights = weights_in(columns, hop, anchors);
  // Weights are relative to the largest, which float32 holds.
  float largest = 0;
  for (int64_t i = 0; i < visitors; ++i) largest = std::max(largest, float(std::fabs(weights.weight[i])));
  if (!(largest > 0)) largest = 1;
  infonce_upstream upstream{};
  upstream.struct_size = sizeof upstream;
  upstream.grad_output = {&largest, 1, INFONCE_ON_HOST};
  upstream.cancelled = cancelled_;
  infonce_result result{};
  result.struct_size = sizeof result;
  const int32_t residence = of_rows_->kind.residence();
  result.gradients[0] = {share, residence};
  result.gradients[1] = {reinterpret_cast<float *>(of_their_positives_.bytes()), residence};
  Visit call(backend_, context_);
  note(of_visitors([&] { return backend_.open(context_, &problem, &call.saved, failure_); }));
  if (computes()) note(backend_.close(context_, call.saved, &result, failure_));
  if (computes()) note(backend_.open_gradient(context_, call.saved, &upstream, failure_));
  if (computes()) note(backend_.join_rows(context_, call.saved, 0, &weights, failure_));
  visit_here([&](const infonce_part &part, size_t k) {
    const Home &home = homes_[k];
    auto *const of_visitors = home.has_gradient ? reinterpret_cast<float *>(home.of_visitors.bytes()) : nullptr;
    const infonce_output output = {of_visitors, residence};
    const infonce_status status = backend_.add_gradient(context_, call.saved, &part, &output, failure_);
    if (of_visitors && status == INFONCE_OK)
      add(reinterpret_cast<float *>(home.sums.bytes()), of_visitors, part.candidates.rows * problem_.dim);
    return status;
  });
  if (computes()) note(backend_.close_gradient(context_, call.saved, &result, failure_));
  grad_scale_of_visitors_ += result.scalars.grad_scale;
}

// As many as any rank has visitors, and as many as any block has rows here.
void RingCall::take_ids_apart() {
  ids_apart_.clear();
  const Traveller *anchors = travellers_.anchors();
  if (!anchors || !have_ids_apart(problem_, anchors->blocks)) return;
  take_memory([&] {
    int64_t visitors = 0, here = 0;
    for (const Record &record : records_) visitors = std::max(visitors, record.rows[anchors->matrix]);
    for (const int block : anchors->blocks)
      here = std::max(here, problem_.matrices[problem_.blocks[block].candidates].rows);
    ids_apart_.assign(size_t(visitors), 0);
    ids_apart_.resize(size_t(visitors + here), 1);
  });
}

void RingCall::take_memory_for_visitors() {
  homes_.clear();
  if (!travellers_.anchors()) return;
  const Traveller &anchors = *travellers_.anchors();
  const auto piece = [this](int64_t rows) {
    return Memory::Piece(size_t(rows * problem_.dim) * sizeof(float), of_rows_->kind);
  };
  take_memory([&] {
    int64_t most = 0;
    for (const Record &record : records_) most = std::max(most, record.rows[anchors.matrix]);
    of_their_positives_ = piece(most);
    for (const int block : anchors.blocks) {
      const int matrix = problem_.blocks[block].candidates;
      const int64_t rows = problem_.matrices[matrix].rows;
      const bool has_gradient = rows > 0 && local_result_.gradients[matrix].data;
      homes_.push_back({block, matrix, has_gradient, {}, {}});
      if (!has_gradient) continue;
      homes_.back().sums = piece(rows);
      homes_.back().of_visitors = piece(rows);
    }
  });
}

void RingCall::begin_gradients_here() {
  grad_scale_of_visitors_ = 0;
  for (const Home &home : homes_)
    if (home.has_gradient)
      clear(reinterpret_cast<float *>(home.sums.bytes()), problem_.matrices[home.matrix].rows * problem_.dim);
}

void RingCall::add_gradients_here() {
  local_result_.scalars.grad_scale += grad_scale_of_visitors_;
  for (const Home &home : homes_)
    if (home.has_gradient && computes())
      add_home(local_result_.gradients[home.matrix], reinterpret_cast<const float *>(home.sums.bytes()),
               problem_.matrices[home.matrix].rows * problem_.dim);
  homes_.clear();
}

}  // namespace infonce::group

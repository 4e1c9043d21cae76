// Anchors that go round in place of candidates: at each rank they are those of a call of their own, in which they meet that
// rank's candidates as parts. Their sums and gradients go on with them; those of the candidates stay.
#include <algorithm>
#include <cmath>
#include <memory>

#include "common/call.h"
#include "group/numbers.h"
#include "group/ring_call_visits.h"
#include "group/smaller_side.h"

namespace infonce::group {

bool RingCall::have_pairs_here(int hop) const {
  const auto has_rows = [](const Home &home) { return home.candidates.rows > 0; };
  return ring_->owner(hop).rows[travellers_.anchors()->matrix] > 0 &&
         std::any_of(homes_.begin(), homes_.end(), has_rows);
}

infonce_problem RingCall::problem_of_visitors(int hop, const Packed &rows) const {
  const Traveller &anchors = *travellers_.anchors();
  const Record &owner = ring_->owner(hop);
  const infonce_matrix visitors = travellers_.matrix_in(rows, owner, anchors, 0);
  infonce_matrix positives = visitors;
  if (visit_with_positives(local_))
    positives = travellers_.matrix_in(rows, owner, travellers_.of(positives_elsewhere(local_.softmaxes[0])), 0);
  return group::problem_of_visitors(local_, anchors.blocks, visitors, positives);
}

// Calls add(part, home) for what is here of each block.
template <class Add> void RingCall::visit_here(Add &&add) {
  for (size_t k = 0; k < homes_.size(); ++k) {
    infonce_part part{};
    part.struct_size = sizeof part;
    part.block = int32_t(k);
    part.candidates = homes_[k].candidates;
    part.number = int32_t(1 + k);
    part.cancelled = cancelled_;
    if (computes() && part.candidates.rows > 0) note(add(part, homes_[k]));
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

// Whether the call of these visitors waits for their gradient, with exponentials of theirs that need not be computed again:
// as many as a call without ranks keeps.
bool RingCall::stays_for_gradient(int hop) {
  constexpr int64_t kMostBytes = int64_t(136) << 20;
  const int64_t visitors = ring_->owner(hop).rows[travellers_.anchors()->matrix];
  int64_t numbers = 8 * problem_.dim;  // rows and their positives as they are prepared, of float64 at most
  for (const Home &home : homes_) numbers += home.candidates.rows;
  const int64_t bytes = visitors * numbers * int64_t(sizeof(float));
  if (!local_.gradient || bytes_of_visits_ + bytes > kMostBytes) return false;
  bytes_of_visits_ += bytes;
  return true;
}

void RingCall::end_visit(int hop) {
  infonce_saved *&saved = visits_[size_t(hop)];
  if (saved) backend_.saved_destroy(context_, saved);
  saved = nullptr;
}

void RingCall::sum_for_visitors(int hop, const Packed &rows, const infonce_travelling_rows &sums) {
  if (!computes() || !have_pairs_here(hop)) return;
  infonce_problem problem = problem_of_visitors(hop, rows);
  problem.gradient = stays_for_gradient(hop);
  infonce_saved *&saved = visits_[size_t(hop)];
  note(of_visitors([&] { return backend_.open(context_, &problem, &saved, failure_); }));
  infonce_travelling_rows ranks{}, met{};
  ranks.rank = sums.rank;
  met.log_sum = sums.log_sum;
  if (problem_.ranks) met.above = sums.above;
  met.logit_sum = sums.logit_sum;
  if (computes() && problem_.ranks) note(backend_.join_rows(context_, saved, 0, &ranks, failure_));
  visit_here([&](const infonce_part &part, const Home &) {
    return of_visitors([&] { return backend_.add(context_, saved, &part, failure_); });
  });
  if (computes()) note(backend_.read_rows(context_, saved, 0, &met, failure_));
  double *const end = met.log_sum + problem.matrices[0].rows;
  is_nan_ |= computes() && std::any_of(met.log_sum, end, [](double sum) { return std::isnan(sum); });
  if (!problem.gradient) end_visit(hop);
}

void RingCall::compute_share_of_visitors(int hop, const Packed &rows, char *columns, float *share) {
  if (!computes()) return;
  const Traveller &anchors = *travellers_.anchors();
  const int64_t visitors = ring_->owner(hop).rows[anchors.matrix];
  if (!have_pairs_here(hop)) return clear(share, visitors * problem_.dim);
  const infonce_travelling_rows weights = weights_in(columns, hop, anchors);
  // They are relative to the largest, beside which float32 holds the others.
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
  infonce_saved *&saved = visits_[size_t(hop)];
  if (!saved) {
    const infonce_problem problem = problem_of_visitors(hop, rows);
    note(of_visitors([&] { return backend_.open(context_, &problem, &saved, failure_); }));
  }
  if (computes()) note(backend_.close(context_, saved, &result, failure_));
  if (computes()) note(backend_.open_gradient(context_, saved, &upstream, failure_));
  if (computes()) note(backend_.join_rows(context_, saved, 0, &weights, failure_));
  visit_here([&](const infonce_part &part, const Home &home) {
    auto *const of_visitors = home.has_gradient ? reinterpret_cast<float *>(home.of_visitors.bytes()) : nullptr;
    const infonce_output output = {of_visitors, residence};
    const infonce_status status = backend_.add_gradient(context_, saved, &part, &output, failure_);
    if (of_visitors && status == INFONCE_OK)
      add(reinterpret_cast<float *>(home.sums.bytes()), of_visitors, part.candidates.rows * problem_.dim);
    return status;
  });
  if (computes()) note(backend_.close_gradient(context_, saved, &result, failure_));
  end_visit(hop);
  grad_scale_of_visitors_ += result.scalars.grad_scale;
}

void RingCall::take_memory_for_what_stays() {
  std::vector<int> matrices;
  const Traveller *anchors = travellers_.anchors();
  take_memory([&] {
    if (memory_stays_) matrices.push_back(memory_of(problem_));
    if (anchors) visits_.assign(size_t(post_.size()), nullptr);
    for (size_t k = 0; anchors && k < anchors->blocks.size(); ++k)
      matrices.push_back(problem_.blocks[anchors->blocks[k]].candidates);
    for (const int matrix : matrices) {
      Home home{};
      home.candidates = problem_.matrices[matrix];
      const infonce_matrix &given = home.candidates;
      // Parts of every visitor's calls are on the device, once.
      const bool is_elsewhere =
          given.residence == INFONCE_ON_HOST || (given.guide && given.guide_residence == INFONCE_ON_HOST);
      const bool is_kept = is_in_halves_ || (of_rows_->kind.is_on_device() && is_elsewhere);
      if (is_kept && given.rows > 0) {
        const auto rows = size_t(given.rows);
        home.rows = Memory::Piece(rows * size_t(problem_.dim) * size_of(given.type), of_rows_->kind);
        if (given.guide)
          home.guide = Memory::Piece(rows * size_t(problem_.guide_dim) * size_of(given.guide_type), of_rows_->kind);
        if (given.ids) home.ids.assign(given.ids, given.ids + rows);
        if (given.bias) home.bias.assign(given.bias, given.bias + rows);
      }
      homes_.push_back(std::move(home));
    }
    if (memory_stays_) take_memory_for_memory(homes_[0].candidates);
  });
}

// Between the halves of a call the caller's arrays may change, and where rows travel on the device they are brought there once.
void RingCall::keep_candidates_here() {
  const int32_t residence = of_rows_->kind.residence();
  for (Home &home : homes_) {
    infonce_matrix &matrix = home.candidates;
    if (!home.rows.bytes() || !computes()) continue;
    note(pack_rows(matrix, problem_.dim, backend_, context_, home.rows.bytes(), failure_, residence));
    if (matrix.guide && computes())
      note(
          pack_rows(guide_of(matrix), problem_.guide_dim, backend_, context_, home.guide.bytes(), failure_, residence));
    matrix.data = home.rows.bytes();
    if (matrix.guide) matrix.guide = home.guide.bytes();
    matrix.residence = matrix.guide_residence = residence;
    matrix.row_stride = 0;
    if (matrix.ids) matrix.ids = home.ids.data();
    if (matrix.bias) matrix.bias = home.bias.data();
  }
}

void RingCall::take_memory_for_gradients_here() {
  const Traveller *anchors = travellers_.anchors();
  if (!anchors) return;
  const auto piece = [this](int64_t rows) {
    return Memory::Piece(size_t(rows * problem_.dim) * sizeof(float), of_rows_->kind);
  };
  take_memory([&] {
    int64_t visitors = 0;
    for (const Record &record : records_) visitors = std::max(visitors, record.rows[anchors->matrix]);
    of_their_positives_ = piece(visitors);
    for (size_t k = 0; k < homes_.size(); ++k) {
      Home &home = homes_[k];
      const int64_t rows = home.candidates.rows;
      home.has_gradient = rows > 0 && local_result_.gradients[problem_.blocks[anchors->blocks[k]].candidates].data;
      if (!home.has_gradient) continue;
      home.sums = piece(rows);
      home.of_visitors = piece(rows);
    }
  });
}

void RingCall::begin_gradients_here() {
  grad_scale_of_visitors_ = 0;
  for (const Home &home : homes_)
    if (home.has_gradient) clear(reinterpret_cast<float *>(home.sums.bytes()), home.candidates.rows * problem_.dim);
}

void RingCall::add_gradients_here() {
  local_result_.scalars.grad_scale += grad_scale_of_visitors_;
  for (size_t k = 0; k < homes_.size(); ++k) {
    Home &home = homes_[k];
    if (home.has_gradient && computes())
      add_home(local_result_.gradients[problem_.blocks[travellers_.anchors()->blocks[k]].candidates],
               reinterpret_cast<const float *>(home.sums.bytes()), home.candidates.rows * problem_.dim);
    home.sums = Memory::Piece();
    home.of_visitors = Memory::Piece();
  }
  of_their_positives_ = Memory::Piece();
}

}  // namespace infonce::group

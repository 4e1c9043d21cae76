#include "group/target_rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "common/call.h"
#include "common/form.h"
#include "group/numbers.h"
#include "group/travellers.h"

namespace infonce::group {
namespace {

// Makes rows with NaN or infinity zero, and returns the first: their own rank alone tells of them. -1: there is none.
int64_t clear_bad_rows(std::vector<char> *rows, int32_t type, int64_t dim) {
  int64_t first = -1;
  const auto row_bytes = size_t(dim) * size_of(type);
  for (size_t row = 0; row * row_bytes < rows->size(); ++row) {
    char *const numbers = rows->data() + row * row_bytes;
    if (is_finite(numbers, type, dim)) continue;
    if (first < 0) first = int64_t(row);
    std::fill_n(numbers, row_bytes, 0);
  }
  return first;
}

}  // namespace

bool has_targets(const infonce_problem &problem) { return problem.softmaxes[0].positive == INFONCE_POSITIVE_TARGET; }

int keys_of(const infonce_problem &problem) { return positives_elsewhere(problem.softmaxes[0]); }

const char *with_positives_by_index(const infonce_problem &problem, const infonce_matrix &positives,
                                    infonce_problem *by_index) {
  const int keys = keys_of(problem);
  const bool stay = are_candidates(problem, keys);
  if (stay && problem.matrix_count == INFONCE_MOST_MATRICES) return "over a group targets go with fewer matrices";
  *by_index = problem;
  const int matrix = stay ? by_index->matrix_count++ : keys;
  infonce_softmax &softmax = by_index->softmaxes[0];
  by_index->matrices[matrix] = positives;
  softmax.positive = INFONCE_POSITIVE_SAME_INDEX;
  softmax.positive_matrices = uint32_t(1) << matrix;
  if (!stay) softmax.targets = nullptr;
  for (int b = 0; b < by_index->block_count; ++b)
    if (by_index->blocks[b].candidates == keys) by_index->blocks[b].left_out |= INFONCE_LEAVE_OUT_TARGET;
  return nullptr;
}

TargetRows::TargetRows(const Post &post, const std::vector<Record> &records, const infonce_problem &problem)
    : post_(post),
      keys_(keys_of(problem)),
      matrix_(are_candidates(problem, keys_) ? problem.matrix_count : keys_),
      dim_(problem.dim),
      row_bytes_(size_t(dim_) * size_of(problem.matrices[keys_].type)),
      guide_bytes_(size_t(problem.guide_dim) * size_of(problem.matrices[keys_].guide_type)),
      has_bias_(problem.matrices[keys_].bias != nullptr),
      rows_(problem.matrices[problem.softmaxes[0].anchors].rows),
      first_(1, 0),
      asked_(size_t(post.size())),
      asks_(size_t(post.size())),
      anchors_(size_t(post.size())) {
  for (const Record &record : records) first_.push_back(first_.back() + record.rows[keys_]);
}

// Whose keys the targets are. A rank that has failed asks for none.
infonce_status TargetRows::find(const infonce_problem &problem, infonce_failure *failure) {
  const int32_t *const targets = problem.softmaxes[0].targets;
  const auto is_wrong = [&](int64_t target) { return target < 0 || target >= first_.back(); };
  if (const auto wrong = std::find_if(targets, targets + rows_, is_wrong); wrong != targets + rows_)
    return fail(failure, INFONCE_INVALID_ARGUMENT, keys_, -1,
                "targets are rows of the keys of all ranks, 0 to %lld, and that of row %lld is %d",
                static_cast<long long>(first_.back() - 1), static_cast<long long>(wrong - targets), int(*wrong));
  for (int64_t i = 0; i < rows_; ++i) {
    const auto rank = size_t(std::upper_bound(first_.begin(), first_.end(), targets[i]) - first_.begin() - 1);
    asked_[rank].push_back(int32_t(targets[i] - first_[rank]));
    anchors_[rank].push_back(int32_t(i));
  }
  return INFONCE_OK;
}

template <class Sent, class Received> void TargetRows::exchange(Mail *mail, Sent &&sent, Received &&received) const {
  for (int hop = 1; hop < post_.size(); ++hop) {
    const int to = post_.after(hop), from = post_.before(hop);
    const Bytes goes = sent(size_t(to)), comes = received(size_t(from));
    if (goes.second > 0) mail->send(to, Channel::kCollective, goes.first, goes.second);
    if (comes.second > 0) mail->receive(from, Channel::kCollective, comes.first, comes.second);
  }
  mail->wait();
}

void TargetRows::exchange(Messages *messages) const {
  exchange(
      &messages->mail, [&](size_t rank) { return messages->sent[rank]; },
      [&](size_t rank) { return messages->arrive[rank]; });
}

infonce_status TargetRows::ask(const infonce_problem &problem, infonce_failure *failure) {
  const infonce_status status = guarded(failure, [&] { return find(problem, failure); });
  if (status != INFONCE_OK)
    for (std::vector<int32_t> &rows : asked_) rows.clear();
  const auto size = size_t(post_.size());
  Mail mail(post_);
  auto *counts = mail.array<int64_t>(2 * size);
  for (size_t rank = 0; rank < size; ++rank) counts[rank] = int64_t(asked_[rank].size());
  const auto count_at = [&](size_t place) { return Bytes(reinterpret_cast<char *>(counts + place), sizeof *counts); };
  exchange(&mail, count_at, [&](size_t rank) { return count_at(size + rank); });
  counts_asked_.assign(counts + size, counts + 2 * size);
  counts_asked_[size_t(post_.rank())] = counts[post_.rank()];
  return status;
}

void TargetRows::take_room(const std::vector<std::vector<int32_t>> &sent,
                           const std::vector<std::vector<int32_t>> &arrive, size_t row_bytes,
                           std::optional<Messages> *messages) const {
  messages->emplace(post_);
  const auto room_for = [&](const std::vector<int32_t> &rows) {
    return Bytes((*messages)->mail.memory(rows.size() * row_bytes), rows.size() * row_bytes);
  };
  for (size_t rank = 0; rank < sent.size(); ++rank) {
    (*messages)->sent.push_back(room_for(sent[rank]));
    (*messages)->arrive.push_back(int(rank) == post_.rank() ? (*messages)->sent[rank] : room_for(arrive[rank]));
  }
}

void TargetRows::take_memory(const infonce_problem &problem) {
  for (size_t rank = 0; rank < asks_.size(); ++rank) asks_[rank].resize(size_t(counts_asked_[rank]));
  take_room(asked_, asks_, sizeof(int32_t), &questions_);
  take_room(asks_, asked_, bytes_of_row(), &answers_);
  const auto keys = size_t(problem.matrices[keys_].rows), rows = size_t(rows_);
  packed_.resize(keys * row_bytes_);
  packed_guides_.resize(keys * guide_bytes_);
  fetched_.resize(rows * row_bytes_);
  guides_.resize(rows * guide_bytes_);
  bias_.resize(has_bias_ ? rows : 0);
}

void TargetRows::take_memory_for_gradients() {
  gradient_.resize(size_t(rows_ * dim_));
  take_room(asked_, asks_, size_t(dim_) * sizeof(float), &home_);
}

// Everyone says which of whose rows it wants.
void TargetRows::tell() {
  const auto rows_in = [](const Bytes &bytes) { return reinterpret_cast<int32_t *>(bytes.first); };
  for (size_t rank = 0; rank < asked_.size(); ++rank)
    std::copy(asked_[rank].begin(), asked_[rank].end(), rows_in(questions_->sent[rank]));
  exchange(&*questions_);
  for (size_t rank = 0; rank < asks_.size(); ++rank)
    std::copy_n(rows_in(questions_->arrive[rank]), asks_[rank].size(), asks_[rank].begin());
  questions_.reset();
}

infonce_status TargetRows::fetch(const infonce_problem &problem, const infonce_backend &backend,
                                 infonce_context *context, infonce_failure *failure) {
  tell();
  const infonce_matrix &keys = problem.matrices[keys_];
  infonce_status status = pack_rows(keys, dim_, backend, context, packed_.data(), failure);
  if (status == INFONCE_OK && guide_bytes_ > 0)
    status = pack_rows(guide_of(keys), problem.guide_dim, backend, context, packed_guides_.data(), failure);
  const int64_t bad = clear_bad_rows(&packed_, keys.type, dim_);
  const int64_t bad_guide = clear_bad_rows(&packed_guides_, keys.guide_type, problem.guide_dim);
  has_bad_keys_ = bad >= 0 || bad_guide >= 0;
  if (!problem.propagate_non_finite) {
    if (status == INFONCE_OK && bad >= 0) status = non_finite(failure, keys_, bad);
    if (status == INFONCE_OK && bad_guide >= 0) status = non_finite(failure, INFONCE_GUIDE_OF + keys_, bad_guide);
  }

  const size_t bias_bytes = has_bias_ ? sizeof(float) : 0;
  for (size_t rank = 0; rank < asks_.size(); ++rank) {
    char *to = answers_->sent[rank].first;
    for (const int32_t row : asks_[rank]) {
      to = std::copy_n(packed_.data() + size_t(row) * row_bytes_, row_bytes_, to);
      to = std::copy_n(packed_guides_.data() + size_t(row) * guide_bytes_, guide_bytes_, to);
      to = std::copy_n(reinterpret_cast<const char *>(keys.bias + (has_bias_ ? row : 0)), bias_bytes, to);
    }
  }
  exchange(&*answers_);
  for (size_t rank = 0; rank < anchors_.size(); ++rank) {
    const char *from = answers_->arrive[rank].first;
    for (const int32_t i : anchors_[rank]) {
      std::copy_n(from, row_bytes_, fetched_.data() + size_t(i) * row_bytes_);
      std::copy_n(from + row_bytes_, guide_bytes_, guides_.data() + size_t(i) * guide_bytes_);
      if (has_bias_) std::memcpy(&bias_[size_t(i)], from + row_bytes_ + guide_bytes_, bias_bytes);
      from += bytes_of_row();
    }
  }
  answers_.reset();
  const auto left_out = std::find_if(bias_.begin(), bias_.end(), [](float bias) { return std::isinf(bias); });
  if (status == INFONCE_OK && left_out != bias_.end())
    status = fail(failure, INFONCE_INVALID_ARGUMENT, keys_, -1,
                  "the bias of the key that is the positive of row %lld is -infinity",
                  static_cast<long long>(left_out - bias_.begin()));
  return status;
}

infonce_problem TargetRows::by_index(const infonce_problem &problem) const {
  infonce_matrix positives{};
  positives.data = fetched_.data();
  positives.type = problem.matrices[keys_].type;
  positives.residence = INFONCE_ON_HOST;
  positives.rows = rows_;
  positives.views = 1;
  if (has_bias_) positives.bias = bias_.data();
  if (problem.matrices[keys_].guide) {
    positives.guide = guides_.data();
    positives.guide_type = problem.matrices[keys_].guide_type;
    positives.guide_residence = INFONCE_ON_HOST;
  }
  infonce_problem by_index;
  with_positives_by_index(problem, positives, &by_index);
  if (has_keys_apart()) by_index.matrices[keys_].first_number = first_of(post_.rank());
  return by_index;
}

void TargetRows::bring_home(float *of_keys) {
  const size_t row_bytes = size_t(dim_) * sizeof(float);
  for (size_t rank = 0; rank < asked_.size(); ++rank) {
    char *to = home_->sent[rank].first;
    for (const int32_t i : anchors_[rank])
      to = std::copy_n(reinterpret_cast<const char *>(gradient_.data() + i * dim_), row_bytes, to);
  }
  exchange(&*home_);
  for (size_t rank = 0; rank < asks_.size() && of_keys; ++rank) {
    const auto *from = reinterpret_cast<const float *>(home_->arrive[rank].first);
    for (const int32_t row : asks_[rank]) {
      float *const to = of_keys + row * dim_;
      for (int64_t d = 0; d < dim_; ++d) to[d] += *from++;
    }
  }
  home_.reset();
}

}  // namespace infonce::group

#include "group/first_positives.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "group/travellers.h"

namespace infonce::group {
namespace {

bool is_finite(const char *row, int32_t type, int64_t dim) {
  if (type == INFONCE_FLOAT32) {
    const auto *numbers = reinterpret_cast<const float *>(row);
    return std::all_of(numbers, numbers + dim, [](float number) { return std::isfinite(number); });
  }
  const uint16_t exponent = type == INFONCE_FLOAT16 ? 0x7c00 : 0x7f80;
  const auto *numbers = reinterpret_cast<const uint16_t *>(row);
  return std::all_of(numbers, numbers + dim, [=](uint16_t number) { return (number & exponent) != exponent; });
}

}  // namespace

FirstPositives::FirstPositives(const Post &post, const std::vector<Record> &records, const infonce_matrix &own,
                               int matrix, int64_t dim)
    : post_(post), records_(records), matrix_(matrix), dim_(dim), type_(own.type) {
  for (int rank = 0; rank < post.size(); ++rank) most_ = std::max(most_, rows_of(rank));
  find_classes(own);
  look_for_ids(own);
  fetch(own);
  clear_rows_that_are_not_finite();
}

void FirstPositives::find_classes(const infonce_matrix &own) {
  std::vector<int32_t> order(size_t(own.rows));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return own.ids[a] < own.ids[b]; });
  class_of_.resize(order.size());
  for (const int32_t row : order) {
    const bool is_new = classes_.empty() || classes_.back().id != own.ids[row];
    if (is_new) classes_.push_back({own.ids[row], row, false, {}, {}});
    else classes_.back().has_others = true;
    class_of_[size_t(row)] = int32_t(classes_.size()) - 1;
  }
}

void FirstPositives::look_for_ids(const infonce_matrix &own) {
  Mail mail(post_);
  auto *mine = mail.array<int32_t>(size_t(own.rows)), *theirs = mail.array<int32_t>(size_t(most_));
  if (own.rows > 0) std::copy_n(own.ids, own.rows, mine);
  for (int hop = 1; hop < post_.size(); ++hop) {
    const int from = post_.before(hop);
    const int64_t count = rows_of(from);
    if (own.rows > 0) mail.send(post_.after(hop), Channel::kCollective, mine, size_t(own.rows) * sizeof(int32_t));
    if (count > 0) mail.receive(from, Channel::kCollective, theirs, size_t(count) * sizeof(int32_t));
    mail.wait();
    look_through(from, theirs, count);
  }
}

void FirstPositives::look_through(int rank, const int32_t *ids, int64_t count) {
  for (int32_t row = 0; row < count; ++row) {
    const auto of = std::lower_bound(classes_.begin(), classes_.end(), ids[row],
                                     [](const Class &each, int32_t id) { return each.id < id; });
    if (of == classes_.end() || of->id != ids[row]) continue;
    Place &place = rank < post_.rank() ? of->before : of->behind;
    if (place.row < 0 || rank < place.rank) place = {rank, row};
  }
}

// Each rank asks the others in turn, and is asked: how many rows, and which. One row of a class is enough.
void FirstPositives::fetch(const infonce_matrix &own) {
  std::vector<int32_t> wanted;  // classes, by rank
  for (size_t c = 0; c < classes_.size(); ++c)
    if (classes_[c].elsewhere().row >= 0) wanted.push_back(int32_t(c));
  const auto place_of = [&](int32_t c) -> const Place & { return classes_[size_t(c)].elsewhere(); };
  std::stable_sort(wanted.begin(), wanted.end(),
                   [&](int32_t a, int32_t b) { return place_of(a).rank < place_of(b).rank; });
  count_ = int64_t(wanted.size());
  std::vector<int32_t> fetched_of(classes_.size(), -1);
  for (size_t k = 0; k < wanted.size(); ++k) fetched_of[size_t(wanted[k])] = int32_t(k);
  for (const int32_t c : class_of_) of_rows_.push_back(fetched_of[size_t(c)]);

  const size_t row_bytes = size_t(dim_) * size_of(type_);
  Mail mail(post_);
  auto *question = mail.array<int32_t>(size_t(own.rows) + 1), *asked = mail.array<int32_t>(size_t(most_) + 1);
  char *answer = mail.memory(size_t(own.rows) * row_bytes), *arrives = mail.memory(size_t(count_) * row_bytes);
  for (int hop = 1; hop < post_.size(); ++hop) {
    const int to = post_.after(hop), from = post_.before(hop);
    const bool asks = own.rows > 0 && rows_of(to) > 0, answers = own.rows > 0 && rows_of(from) > 0;
    std::fill_n(question, own.rows + 1, 0);
    const auto begin = std::lower_bound(wanted.begin(), wanted.end(), to,
                                        [&](int32_t c, int rank) { return place_of(c).rank < rank; });
    for (auto c = begin; c != wanted.end() && place_of(*c).rank == to; ++c) question[++question[0]] = place_of(*c).row;
    const auto first = size_t(begin - wanted.begin());
    if (asks) mail.send(to, Channel::kCollective, question, size_t(own.rows + 1) * sizeof(int32_t));
    if (answers) mail.receive(from, Channel::kCollective, asked, size_t(rows_of(from) + 1) * sizeof(int32_t));
    mail.wait();
    const int32_t answered = answers ? asked[0] : 0;
    const char *rows = static_cast<const char *>(own.data);
    for (int32_t k = 0; k < answered; ++k)
      std::memcpy(answer + size_t(k) * row_bytes, rows + size_t(asked[k + 1]) * row_bytes, row_bytes);
    if (answered > 0) mail.send(from, Channel::kCollective, answer, size_t(answered) * row_bytes);
    if (question[0] > 0)
      mail.receive(to, Channel::kCollective, arrives + first * row_bytes, size_t(question[0]) * row_bytes);
    mail.wait();
  }
  fetched_.assign(arrives, arrives + size_t(count_) * row_bytes);
}

// Their own rank says so.
void FirstPositives::clear_rows_that_are_not_finite() {
  const size_t row_bytes = size_t(dim_) * size_of(type_);
  for (int64_t k = 0; k < count_; ++k) {
    char *const row = fetched_.data() + size_t(k) * row_bytes;
    if (!is_finite(row, type_, dim_)) std::memset(row, 0, row_bytes);
  }
}

void FirstPositives::add_to(infonce_problem *problem) const {
  infonce_softmax &softmax = problem->softmaxes[0];
  infonce_matrix &matrix = problem->matrices[problem->matrix_count];
  softmax.first_positives_in = problem->matrix_count++;
  softmax.first_positives = of_rows_.data();
  matrix = {};
  matrix.data = fetched_.data();
  matrix.type = type_;
  matrix.residence = INFONCE_ON_HOST;
  matrix.rows = count_;
  matrix.views = 1;
}

}  // namespace infonce::group

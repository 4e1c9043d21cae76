#include "group/first_positives.h"

#include <algorithm>
#include <numeric>

#include "group/numbers.h"

namespace infonce::group {
namespace {

infonce_matrix matrix_or_none(const infonce_problem &problem, int matrix) {
  return matrix == kNone ? infonce_matrix{} : problem.matrices[matrix];
}

}  // namespace

FirstPositives::FirstPositives(const Post &post, const std::vector<Record> &records, const infonce_problem &problem)
    : post_(post),
      records_(records),
      matrix_(problem.softmaxes[0].anchors),
      memory_(memory_of(problem)),
      own_(problem.matrices[matrix_]),
      own_memory_(matrix_or_none(problem, memory_)),
      dim_(problem.dim),
      type_(memory_ == kNone || own_.type == own_memory_.type ? own_.type : int32_t(INFONCE_FLOAT32)),
      row_bytes_(size_t(dim_) * size_of(type_)),
      mail_(post) {
  find_classes();
  int64_t most = 0, most_of_all = 0;  // of any rank
  for (int rank = 0; rank < post.size(); ++rank) {
    most = std::max(most, rows_of(rank));
    most_of_all = std::max(most_of_all, all_of(rank));
  }
  of_rows_.reserve(class_of_.size());
  wanted_.reserve(classes_.size());
  fetched_of_.assign(classes_.size(), -1);
  const int64_t own = own_.rows + own_memory_.rows;
  mine_ = mail_.array<int32_t>(size_t(own));
  theirs_ = mail_.array<int32_t>(size_t(most_of_all));
  question_ = mail_.array<int32_t>(size_t(own_.rows) + 1);
  asked_ = mail_.array<int32_t>(size_t(most) + 1);
  answer_ = mail_.memory(size_t(std::min(own, most)) * row_bytes_);
  fetched_ = mail_.memory(classes_.size() * row_bytes_);
}

void FirstPositives::find_classes() {
  std::vector<int32_t> order(size_t(own_.rows));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return own_.ids[a] < own_.ids[b]; });
  class_of_.resize(order.size());
  for (const int32_t row : order) {
    if (classes_.empty() || classes_.back().id != own_.ids[row]) classes_.emplace_back(own_.ids[row]);
    else classes_.back().has_others = true;
    class_of_[size_t(row)] = int32_t(classes_.size()) - 1;
  }
  for (int64_t row = 0; row < own_memory_.rows; ++row)
    if (Class *of = class_with(own_memory_.ids[row])) of->is_in_memory = true;
}

// Null: no own row has the id.
FirstPositives::Class *FirstPositives::class_with(int32_t id) {
  const auto of = std::lower_bound(classes_.begin(), classes_.end(), id,
                                   [](const Class &each, int32_t other) { return each.id < other; });
  return of != classes_.end() && of->id == id ? &*of : nullptr;
}

void FirstPositives::find(const char *rows, const char *memory) {
  look_for_ids();
  choose();
  fetch(rows, memory);
  clear_rows_that_are_not_finite();
}

void FirstPositives::look_for_ids() {
  const auto own = size_t(all_of(post_.rank()));
  if (own_.rows > 0) std::copy_n(own_.ids, own_.rows, mine_);
  if (own_memory_.rows > 0) std::copy_n(own_memory_.ids, own_memory_.rows, mine_ + own_.rows);
  for (int hop = 1; hop < post_.size(); ++hop) {
    const int from = post_.before(hop);
    const auto count = size_t(all_of(from));
    if (own > 0) mail_.send(post_.after(hop), Channel::kCollective, mine_, own * sizeof(int32_t));
    if (count > 0) mail_.receive(from, Channel::kCollective, theirs_, count * sizeof(int32_t));
    mail_.wait();
    look_through(from);
  }
}

void FirstPositives::look_through(int rank) {
  for (int64_t row = 0; row < all_of(rank); ++row) {
    Class *const of = class_with(theirs_[row]);
    if (!of) continue;
    const bool is_before = rank < post_.rank(), is_remembered = row >= rows_of(rank);
    Place &place = is_remembered ? (is_before ? of->before_in_memory : of->behind_in_memory)
                                 : (is_before ? of->before : of->behind);
    if (place.row < 0 || rank < place.rank) place = {rank, int32_t(row)};
  }
}

// One row of a class is enough.
void FirstPositives::choose() {
  for (size_t c = 0; c < classes_.size(); ++c)
    if (classes_[c].elsewhere().row >= 0) wanted_.push_back(int32_t(c));
  std::stable_sort(wanted_.begin(), wanted_.end(), [&](int32_t a, int32_t b) {
    return classes_[size_t(a)].elsewhere().rank < classes_[size_t(b)].elsewhere().rank;
  });
  count_ = int64_t(wanted_.size());
  for (size_t k = 0; k < wanted_.size(); ++k) fetched_of_[size_t(wanted_[k])] = int32_t(k);
  for (const int32_t c : class_of_) of_rows_.push_back(fetched_of_[size_t(c)]);
}

// Each rank asks the others in turn, and is asked: how many rows, and which.
void FirstPositives::fetch(const char *rows, const char *memory) {
  const auto place_of = [&](int32_t c) { return classes_[size_t(c)].elsewhere(); };
  const int64_t own = all_of(post_.rank());
  const size_t own_bytes = size_t(dim_) * size_of(own_.type), memory_bytes = size_t(dim_) * size_of(own_memory_.type);
  // As many numbers as the asking rank can name at most, which its number of rows bounds.
  const auto question_bytes = [&](int rank) { return size_t(rows_of(rank) + 1) * sizeof(int32_t); };
  for (int hop = 1; hop < post_.size(); ++hop) {
    const int to = post_.after(hop), from = post_.before(hop);
    const bool asks = own_.rows > 0 && all_of(to) > 0, answers = own > 0 && rows_of(from) > 0;
    std::fill_n(question_, own_.rows + 1, 0);
    const auto begin = std::lower_bound(wanted_.begin(), wanted_.end(), to,
                                        [&](int32_t c, int rank) { return place_of(c).rank < rank; });
    for (auto c = begin; c != wanted_.end() && place_of(*c).rank == to; ++c)
      question_[++question_[0]] = place_of(*c).row;
    const auto first = size_t(begin - wanted_.begin());
    if (asks) mail_.send(to, Channel::kCollective, question_, question_bytes(post_.rank()));
    if (answers) mail_.receive(from, Channel::kCollective, asked_, question_bytes(from));
    mail_.wait();
    const int32_t answered = answers ? asked_[0] : 0;
    for (int32_t k = 0; k < answered; ++k) {
      const int64_t row = asked_[k + 1], remembered_row = row - own_.rows;
      char *const to_row = answer_ + size_t(k) * row_bytes_;
      if (remembered_row < 0) copy_row(rows + size_t(row) * own_bytes, own_.type, dim_, to_row, type_);
      else copy_row(memory + size_t(remembered_row) * memory_bytes, own_memory_.type, dim_, to_row, type_);
    }
    if (answered > 0) mail_.send(from, Channel::kCollective, answer_, size_t(answered) * row_bytes_);
    if (question_[0] > 0)
      mail_.receive(to, Channel::kCollective, fetched_ + first * row_bytes_, size_t(question_[0]) * row_bytes_);
    mail_.wait();
  }
}

// Their own rank says so.
void FirstPositives::clear_rows_that_are_not_finite() {
  for (int64_t k = 0; k < count_; ++k) {
    char *const row = fetched_ + size_t(k) * row_bytes_;
    if (!is_finite(row, type_, dim_)) std::memset(row, 0, row_bytes_);
  }
}

void FirstPositives::add_to(infonce_problem *problem) const {
  infonce_softmax &softmax = problem->softmaxes[0];
  infonce_matrix &matrix = problem->matrices[problem->matrix_count];
  softmax.first_positives_in = problem->matrix_count++;
  softmax.first_positives = of_rows_.data();
  matrix = {};
  matrix.data = fetched_;
  matrix.type = type_;
  matrix.residence = INFONCE_ON_HOST;
  matrix.rows = count_;
  matrix.views = 1;
}

}  // namespace infonce::group

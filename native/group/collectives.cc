#include "group/collectives.h"

#include <algorithm>
#include <cstring>

namespace infonce::group {
namespace {

// The arrays of one type, one after another.
template <class Number> class Joined {
 public:
  explicit Joined(const std::vector<Numbers> &arrays) {
    for (const Numbers &array : arrays)
      if (array.is_double == std::is_same_v<Number, double>) arrays_.push_back(array), count_ += array.count;
  }

  int64_t count() const { return count_; }
  void copy_to(Number *target) const {
    for (const Numbers &array : arrays_)
      target = std::copy_n(static_cast<const Number *>(array.data), array.count, target);
  }
  void copy_from(const Number *source) const {
    for (const Numbers &array : arrays_) {
      std::copy_n(source, array.count, static_cast<Number *>(array.data));
      source += array.count;
    }
  }

 private:
  std::vector<Numbers> arrays_;
  int64_t count_ = 0;
};

}  // namespace

// The numbers of one type. Each rank adds a share of them, and tells the others: 2 (P - 1) / P of them are sent and
// received.
template <class Number> class Reduction::Part {
 public:
  Part(const Post &post, const std::vector<Numbers> &arrays)
      : post_(post), mail_(post), joined_(arrays), first_(first_of(post.rank())), count_(count_of(post.rank())) {
    if (joined_.count() == 0) return;
    all_ = mail_.array<Number>(size_t(joined_.count()));
    theirs_ = mail_.array<Number>(size_t(count_) * size_t(post.size()));
  }

  void run(bool mean) {
    if (joined_.count() == 0) return;
    const int size = post_.size(), rank = post_.rank();
    joined_.copy_to(all_);
    for (int other = 0; other < size; ++other) {
      if (other == rank) continue;
      mail_.receive(other, Channel::kCollective, theirs_ + other * count_, size_t(count_) * sizeof(Number));
      mail_.send(other, Channel::kCollective, all_ + first_of(other), size_t(count_of(other)) * sizeof(Number));
    }
    std::copy_n(all_ + first_, count_, theirs_ + rank * count_);
    mail_.wait();
    for (int64_t i = 0; i < count_; ++i) {
      double sum = 0;
      for (int other = 0; other < size; ++other) sum += double(theirs_[other * count_ + i]);
      all_[first_ + i] = Number(mean ? sum / size : sum);
    }
    for (int other = 0; other < size; ++other) {
      if (other == rank) continue;
      mail_.receive(other, Channel::kCollective, all_ + first_of(other), size_t(count_of(other)) * sizeof(Number));
      mail_.send(other, Channel::kCollective, all_ + first_, size_t(count_) * sizeof(Number));
    }
    mail_.wait();
    joined_.copy_from(all_);
  }

 private:
  int64_t first_of(int rank) const { return joined_.count() * rank / post_.size(); }
  int64_t count_of(int rank) const { return first_of(rank + 1) - first_of(rank); }

  const Post &post_;
  Mail mail_;
  const Joined<Number> joined_;
  const int64_t first_, count_;  // of this rank's share
  Number *all_ = nullptr;
  Number *theirs_ = nullptr;  // of this share, by rank
};

Reduction::Reduction(const Post &post, const std::vector<Numbers> &arrays)
    : floats_(std::make_unique<Part<float>>(post, arrays)), doubles_(std::make_unique<Part<double>>(post, arrays)) {}

Reduction::~Reduction() = default;

void Reduction::run(bool mean) {
  floats_->run(mean);
  doubles_->run(mean);
}

}  // namespace infonce::group

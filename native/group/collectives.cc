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

// Each rank adds a share of the numbers, and tells the others: 2 (P - 1) / P of them are sent and received.
template <class Number> void reduce(const Post &post, const std::vector<Numbers> &arrays, bool mean) {
  const Joined<Number> joined(arrays);
  if (joined.count() == 0) return;
  Mail mail(post);
  const int size = post.size(), rank = post.rank();
  const auto first_of = [&](int share) { return joined.count() * share / size; };
  const int64_t first = first_of(rank), count = first_of(rank + 1) - first;
  Number *all = mail.array<Number>(size_t(joined.count()));
  Number *theirs = mail.array<Number>(size_t(count) * size_t(size));  // of this share, by rank
  joined.copy_to(all);
  for (int other = 0; other < size; ++other) {
    if (other == rank) continue;
    const int64_t begin = first_of(other);
    mail.receive(other, Channel::kCollective, theirs + other * count, size_t(count) * sizeof(Number));
    mail.send(other, Channel::kCollective, all + begin, size_t(first_of(other + 1) - begin) * sizeof(Number));
  }
  std::copy_n(all + first, count, theirs + rank * count);
  mail.wait();
  for (int64_t i = 0; i < count; ++i) {
    double sum = 0;
    for (int other = 0; other < size; ++other) sum += double(theirs[other * count + i]);
    all[first + i] = Number(mean ? sum / size : sum);
  }
  for (int other = 0; other < size; ++other) {
    if (other == rank) continue;
    const int64_t begin = first_of(other);
    mail.receive(other, Channel::kCollective, all + begin, size_t(first_of(other + 1) - begin) * sizeof(Number));
    mail.send(other, Channel::kCollective, all + first, size_t(count) * sizeof(Number));
  }
  mail.wait();
  joined.copy_from(all);
}

}  // namespace

void all_reduce(const Post &post, const std::vector<Numbers> &arrays, bool mean) {
  reduce<float>(post, arrays, mean);
  reduce<double>(post, arrays, mean);
}

}  // namespace infonce::group

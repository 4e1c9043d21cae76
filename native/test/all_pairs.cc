#include "test/all_pairs.h"

#include <cstddef>

namespace infonce::test {

namespace {

class Pairs {
 public:
  explicit Pairs(const std::vector<int> &sizes) : sizes_(sizes) {
    for (const int size : sizes) {
      first_.push_back(values_);
      values_ += size;
    }
    met_.assign(static_cast<size_t>(values_ * values_), false);
    for (size_t a = 0; a < sizes.size(); ++a) {
      for (size_t b = 0; b < a; ++b) {
        left_ += sizes[a] * sizes[b];
      }
    }
  }

  bool all_met() const { return left_ == 0; }

  // Each factor in turn takes the value that meets most of the earlier ones' for the first time; among equals the one
  // that `turn` comes to.
  std::vector<int> next_case(int turn) {
    std::vector<int> chosen;
    for (size_t factor = 0; factor < sizes_.size(); ++factor) {
      int best = 0;
      int most = -1;
      for (int k = 0; k < sizes_[factor]; ++k) {
        const int value = (k + turn) % sizes_[factor];
        const int gain = new_pairs(chosen, factor, value);
        if (gain > most) {
          best = value;
          most = gain;
        }
      }
      chosen.push_back(best);
    }
    note(chosen);
    return chosen;
  }

 private:
  size_t index(size_t a, int value_a, size_t b, int value_b) const {
    return static_cast<size_t>((first_[a] + value_a) * values_ + first_[b] + value_b);
  }

  int new_pairs(const std::vector<int> &chosen, size_t factor, int value) const {
    int count = 0;
    for (size_t other = 0; other < chosen.size(); ++other) {
      count += !met_[index(factor, value, other, chosen[other])];
    }
    // The first factor has none before it: it takes the value with most pairs left.
    for (size_t other = factor == 0 ? 1 : sizes_.size(); other < sizes_.size(); ++other) {
      for (int v = 0; v < sizes_[other]; ++v) {
        count += !met_[index(other, v, factor, value)];
      }
    }
    return count;
  }

  void note(const std::vector<int> &chosen) {
    for (size_t a = 0; a < chosen.size(); ++a) {
      for (size_t b = 0; b < a; ++b) {
        const size_t pair = index(a, chosen[a], b, chosen[b]);
        left_ -= !met_[pair];
        met_[pair] = true;
      }
    }
  }

  std::vector<int> sizes_;
  std::vector<int> first_;
  std::vector<bool> met_;
  int values_ = 0;
  int left_ = 0;
};

}  // namespace

std::vector<std::vector<int>> all_pairs(const std::vector<int> &sizes) {
  Pairs pairs(sizes);
  std::vector<std::vector<int>> cases;
  while (!pairs.all_met()) {
    cases.push_back(pairs.next_case(static_cast<int>(cases.size())));
  }
  return cases;
}

}  // namespace infonce::test

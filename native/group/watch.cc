#include "group/watch.h"

#include <utility>

namespace infonce::group {

void Watch::begin(int64_t step) {
  const std::lock_guard<std::mutex> lock(mutex_);
  step_ = step;
  has_missed_ = false;
}

void Watch::miss(const std::vector<int> &ranks) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (std::exchange(has_missed_, true)) return;
  missed_.push_back({step_, ranks});
}

std::vector<Watch::Missed> Watch::take() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return std::exchange(missed_, {});
}

}  // namespace infonce::group

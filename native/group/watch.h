// Which ranks a step has waited for so long that somebody is to be told.
#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

namespace infonce::group {

// Usable from any thread.
class Watch {
 public:
  // Ranks that have not come to a step.
  struct Missed {
    int64_t step;
    std::vector<int> ranks;
  };

  // `seconds`: how long they may take.
  explicit Watch(double seconds) : seconds_(seconds) {}

  double seconds() const { return seconds_; }
  // From now on it is this step that waits.
  void begin(int64_t step);
  // Keeps them, the first ones of each step alone.
  void miss(const std::vector<int> &ranks);
  // What was kept since the last time.
  std::vector<Missed> take();

 private:
  const double seconds_;
  std::mutex mutex_;
  int64_t step_ = 0;
  bool has_missed_ = false;
  std::vector<Missed> missed_;
};

}  // namespace infonce::group

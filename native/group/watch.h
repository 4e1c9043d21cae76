// Tracks ranks that have kept a step waiting long enough to warn about.
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
  // From now on this step waits.
  void begin(int64_t step);
  // Keeps the first ranks of each step.
  void miss(const std::vector<int> &ranks);
  // Returns and clears those kept.
  std::vector<Missed> take();

 private:
  const double seconds_;
  std::mutex mutex_;
  int64_t step_ = 0;
  bool has_missed_ = false;
  std::vector<Missed> missed_;
};

}  // namespace infonce::group

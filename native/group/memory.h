// Memory that steps of a group use again.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

namespace infonce::group {

// Fresh pages cost more than what is done with them. Usable from any thread: what is saved for a gradient may end at any
// time.
class Memory {
 public:
  struct Piece {
    std::unique_ptr<char[]> bytes;
    size_t size = 0;
  };

  // One that is free and not much larger, or a new one.
  Piece take(size_t size);
  void give_back(Piece piece);

 private:
  std::mutex mutex_;
  std::vector<Piece> free_;
};

}  // namespace infonce::group

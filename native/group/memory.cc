#include "group/memory.h"

#include <algorithm>
#include <utility>

namespace infonce::group {
namespace {
constexpr size_t kMostFree = 16;
}

Memory::Piece Memory::take(size_t size) {
  const std::lock_guard<std::mutex> lock(mutex_);
  auto best = free_.end();
  for (auto piece = free_.begin(); piece != free_.end(); ++piece)
    if (piece->size >= size && piece->size / 2 <= size && (best == free_.end() || piece->size < best->size))
      best = piece;
  if (best == free_.end()) return {std::unique_ptr<char[]>(new char[size]), size};
  Piece piece = std::move(*best);
  free_.erase(best);
  return piece;
}

void Memory::give_back(Piece piece) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (free_.size() == kMostFree) free_.erase(free_.begin());
  free_.push_back(std::move(piece));
}

}  // namespace infonce::group

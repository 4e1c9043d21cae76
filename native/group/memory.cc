#include "group/memory.h"

#include <algorithm>
#include <new>
#include <stdexcept>
#include <utility>

namespace infonce::group {
namespace {
constexpr size_t kMostFree = 16;
constexpr size_t kLeastLocked = size_t(64) << 10;  // copies of less go through buffers of the backend soon enough
}  // namespace

Memory::Piece::Piece(size_t size, const MemoryKind &wanted) : size_(size), wanted_(wanted) {
  void *memory = nullptr;
  if (wanted.is_on_device()) {
    infonce_failure failure{};
    failure.struct_size = sizeof failure;
    const infonce_status status = wanted.backend->allocate(wanted.context, int64_t(size), &memory, &failure);
    if (status == INFONCE_OUT_OF_MEMORY) throw std::bad_alloc();
    if (status != INFONCE_OK) throw std::runtime_error(failure.message);
    bytes_ = static_cast<char *>(memory);
    return;
  }
  if (wanted.backend && size >= kLeastLocked &&
      wanted.backend->host_allocate(wanted.device, int64_t(size), &memory, nullptr) == INFONCE_OK) {
    bytes_ = static_cast<char *>(memory);
    lender_ = wanted.backend;
  } else {
    bytes_ = new char[size];
  }
}

Memory::Piece::~Piece() {
  if (is_on_device()) wanted_.backend->release(wanted_.context, bytes_);
  else if (lender_) lender_->host_release(bytes_);
  else delete[] bytes_;
}

Memory::Piece Memory::take(size_t size, const MemoryKind &wanted) {
  if (wanted.is_on_device()) return Piece(size, wanted);
  const std::lock_guard<std::mutex> lock(mutex_);
  auto best = free_.end();
  for (auto piece = free_.begin(); piece != free_.end(); ++piece)
    if (piece->serves(size, wanted) && (best == free_.end() || piece->size() < best->size())) best = piece;
  if (best == free_.end()) return Piece(size, wanted);
  Piece piece = std::move(*best);
  free_.erase(best);
  return piece;
}

void Memory::give_back(Piece piece) {
  if (piece.is_on_device()) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  if (free_.size() == kMostFree) free_.erase(free_.begin());
  free_.push_back(std::move(piece));
}

}  // namespace infonce::group

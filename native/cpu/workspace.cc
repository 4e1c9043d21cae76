#include "cpu/workspace.h"

#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace infonce::cpu {
namespace {
constexpr std::align_val_t kPage{size_t(2) << 20};  // a huge page: packed panels are walked with large strides
}

Workspace::~Workspace() { ::operator delete(base_, kPage); }

void Workspace::grow(size_t bytes) {
  if (bytes <= capacity_) return;
  ::operator delete(base_, kPage);
  base_ = nullptr;
  capacity_ = 0;
  base_ = static_cast<std::byte *>(::operator new(bytes, kPage));
  capacity_ = bytes;
#if defined(__linux__)
  madvise(base_, bytes, MADV_HUGEPAGE);
#endif
}

}  // namespace infonce::cpu

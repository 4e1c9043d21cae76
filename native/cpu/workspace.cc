#include "cpu/workspace.h"

#include "cpu/memory.h"

namespace infonce::cpu {

Workspace::~Workspace() { release_memory(base_); }

void Workspace::free() {
  release_memory(base_);
  base_ = nullptr;
  capacity_ = 0;
}

void Workspace::grow(size_t bytes) {
  if (bytes <= capacity_) return;
  free();
  base_ = static_cast<std::byte *>(allocate_memory(int64_t(bytes)));
  capacity_ = bytes;
}

}  // namespace infonce::cpu

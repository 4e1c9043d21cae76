// The system's memory: how much there is, how much a call may still take, and taking it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>

namespace infonce::cpu {

// 0 where the system does not say.
int64_t physical_memory();

// What this process could still fill without the system killing it or swapping; the physical memory where the system
// says no more than that.
int64_t available_memory();

// Throws OutOfMemory if `bytes` are many and more than is available. Most systems would hand out addresses all the same.
void require_memory(int64_t bytes);

// Of arrays, as Cursor's; and of a workspace, whose packed panels are walked with large strides.
constexpr std::align_val_t kCacheLines{256};
constexpr std::align_val_t kHugePage{size_t(2) << 20};

// What lies in it is unspecified. Throws OutOfMemory.
void *allocate_memory(int64_t bytes, std::align_val_t alignment);
void release_memory(void *memory, std::align_val_t alignment);

}  // namespace infonce::cpu

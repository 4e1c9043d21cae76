// The system's memory: its size, how much a call may still take, and its allocation.
#pragma once

#include <cstdint>

namespace infonce::cpu {

// 0 where the system does not say.
int64_t physical_memory();

// What this process could still fill without the system killing it or swapping; the physical memory where the system
// says no more than that.
int64_t available_memory();

// Throws OutOfMemory if `bytes` are many and more than is available. Most systems would return an address all the same.
void require_memory(int64_t bytes);

// Aligned as Cursor's arrays are. What lies in it is unspecified. Throws OutOfMemory.
//
// On Linux much memory comes straight from the system, in huge pages, because packed panels are walked with large
// strides, and goes straight back: blocks of ever other sizes would leave the heap in fragments.
void *allocate_memory(int64_t bytes);
void release_memory(void *memory);

}  // namespace infonce::cpu

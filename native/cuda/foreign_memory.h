// What other libraries of the process bring: memory of theirs, and streams.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <string>

namespace infonce::cuda {

// What so many bytes are, in words, if they are not all memory of the current device, whose number is `device`; else an
// empty text. Throws Error after a fault.
std::string what_else_is(const void *memory, size_t bytes, int device);

// What a handle is, if it is no stream of the current device; nothing of null. Throws Error after a fault.
std::string what_else_is(cudaStream_t stream);

}  // namespace infonce::cuda

// Functions of the CUDA runtime that fail or report other attributes when a test asks for it, and else call the real
// ones. In a program that links them, a library's calls come here before they reach the shared runtime.
#pragma once

#include <cstddef>
#include <string>

namespace infonce::test {

// The function returns this error from now on; 0: it calls the real one.
void set_error(const std::string &function, int error);

// An attribute of the device, by its number in cudaDeviceAttr.
void set_attribute(int attribute, int value);

// What encoding a tensor map returns; 0: it is encoded.
void set_tensor_map_result(int result);

// What the runtime says of memory of the device: its cudaMemoryType and device. -1: what it does.
void set_memory(int type, int device);

// Allocations are pieces of so many bytes that were mapped one after another. 0: each is one piece, of cudaMalloc.
void set_mapped_pieces(size_t bytes);

// So many devices, up to four, where the real runtime has one: work of one is refused in a stream of another. Each can reach
// the others' memory.
void set_device_count(int count);

// How often the function was called since the last call of calls_of for it.
int calls_of(const std::string &function);

// The current context of the calling thread, as the driver would report it. cudaSetDevice makes another one current.
void set_current_context(const void *context);
const void *current_context();

// Undoes all of these.
void reset_fake_runtime();

}  // namespace infonce::test

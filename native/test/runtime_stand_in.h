// Functions of the CUDA runtime that fail, or tell of another device, when a test says so, and else do what they do. A
// program that links them is asked by a library before the shared runtime is.
#pragma once

#include <string>

namespace infonce::test {

// The function returns this error from now on; 0: it does what it does.
void let_fail(const std::string &function, int error);

// What the device says of itself, by the number of cudaDeviceAttr.
void let_attribute_be(int attribute, int value);

// What making a tensor map returns; 0: what it does.
void let_tensor_maps_be(int result);

// How often the function was called, and how often since the last time that was asked.
int calls_of(const std::string &function);

// The calling thread's context, as the driver would tell it: cudaSetDevice makes another one current.
void let_context_be(const void *context);
const void *current_context();

// All of it as it is.
void let_everything_be();

}  // namespace infonce::test

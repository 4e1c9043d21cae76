// Memory that several processes have: handles of it, and what they open.
#pragma once

#include <string>

#include "infonce/infonce.h"

namespace infonce::cuda {

// These return why the driver does not, in words, or an empty text. Of the current device; throw Error after a fault.
std::string export_memory(const void *memory, infonce_memory_handle *handle);
std::string open_memory(const infonce_memory_handle &handle, void **opened);

void close_memory(void *opened);

}  // namespace infonce::cuda

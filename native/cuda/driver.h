// Functions of the driver, found through the runtime: nothing links to the driver's library, which only machines with a
// GPU have.
#pragma once

#include <string>

namespace infonce::cuda {

// Null where this driver has none, with the reason. No context is needed, and none is made.
void *driver_function(const char *name, std::string *problem = nullptr);

}  // namespace infonce::cuda

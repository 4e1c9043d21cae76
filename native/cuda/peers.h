// Devices that reach each other's memory: copies between them need not go through the host's.
#pragma once

namespace infonce::cuda {

// Lets the current device, and the one that other memory is on, reach each other where they can. Once for each two; what
// cannot be is left to the driver, which copies all the same.
void let_devices_meet(const void *one, const void *other);

}  // namespace infonce::cuda

// Devices that reach each other's memory: copies between them need not go through the host's.
#pragma once

namespace infonce::cuda {

// Lets either of two devices reach the other's memory, where it can, once for each pair. Where they cannot, the driver
// copies all the same.
void let_reach_each_other(int one, int other);

}  // namespace infonce::cuda

// The devices of this machine: which there are, and which this backend can use.
#pragma once

#include <string>

#include "infonce/infonce.h"

namespace infonce::cuda {

int32_t device_count(infonce_failure *failure);
infonce_status device_info(int32_t device, infonce_device_info *info, infonce_failure *failure);

// Why the kernels for compute capability 9.0 cannot serve `device`, which can be used, or an empty text. Makes no
// context: what only a context shows is known once there was one.
std::string why_no_sm90(int32_t device);

// Whether `device` can be used.
infonce_status check_device(int32_t device, infonce_failure *failure);

}  // namespace infonce::cuda

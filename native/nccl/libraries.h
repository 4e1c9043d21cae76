// libnccl and the library of the CUDA driver, opened at run time. They stay for the life of the process.
#pragma once

#include <string>

#include "nccl/functions.h"

namespace infonce::nccl {

struct NcclLibrary {
  Nccl functions;
  std::string name;  // "NCCL 2.21.5"
};

// `wanted`: a name or path; empty: that of INFONCE_NCCL_LIBRARY, else libnccl.so.2. Throws CannotStart, as the next does.
NcclLibrary open_nccl_library(const std::string &wanted);
Driver open_driver();

// "2.21.5" of 22105.
std::string version_in(int code);

}  // namespace infonce::nccl

// Why there is no process group over NCCL. Each message names what was found, what was expected, and the remedy.
#pragma once

#include <stdexcept>

namespace infonce::nccl {

class CannotStart : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace infonce::nccl

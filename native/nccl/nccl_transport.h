// A process group over NCCL: each rank has a GPU of its own, through which its messages go.
#pragma once

#include <array>
#include <memory>
#include <string>

#include "group/transport.h"
#include "nccl/functions.h"

namespace infonce::nccl {

struct NcclOptions {
  int rank = 0, size = 1;
  UniqueId id{};          // that of one rank's new_unique_id, on all
  int device = -1;        // of those that this process sees; -1: the rank's, counted round
  std::string library;    // name or path; empty: that of INFONCE_NCCL_LIBRARY, else libnccl.so.2
  double patience = 300;  // seconds within which all ranks come, and what is sent or received has its other end
};

// Blocks until every rank has come. Throws CannotStart.
std::unique_ptr<group::Transport> open_nccl(const NcclOptions &options);

// What the ranks of one group have in common. The process that asks for it stays until all have come: they find each other
// through it. Throws CannotStart.
UniqueId new_unique_id(const std::string &library);

}  // namespace infonce::nccl

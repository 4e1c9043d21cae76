// A process group over MPI: the processes that one launcher (mpirun, srun) has started.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "group/transport.h"

namespace infonce::mpi {

struct MpiOptions {
  // Name or path of libmpi. Empty: that of INFONCE_MPI_LIBRARY, else what the launcher suggests.
  std::string library;
  // Seconds within which all ranks must have started.
  double start_timeout = 300;
  // Longer messages go in pieces of so many bytes, at most INT_MAX.
  size_t piece = size_t{1} << 30;
};

// Starts MPI in this process and joins all that the launcher started. Blocks until every rank has come. Throws a
// CannotStart. MPI starts once in a process, so there is one such transport at a time, and after it none, unless somebody
// else has started MPI.
std::unique_ptr<group::Transport> open_mpi(const MpiOptions &options);

}  // namespace infonce::mpi

// The launcher of this process, by its environment variables.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace infonce::mpi {

// Whose launchers and libraries understand each other.
enum class Implementation { kUnknown, kOpenMpi, kMpich };

struct Launcher {
  std::string name;  // "mpirun of Open MPI"; empty: none
  Implementation serves = Implementation::kUnknown;
  int size = 0;          // processes that it started; 0: it does not say
  std::string evidence;  // "OMPI_COMM_WORLD_SIZE=3"
};

// Returns null for a variable that is not set.
using Environment = std::function<const char *(const char *name)>;

Launcher find_launcher(const Environment &environment);

// Why MPICH could not speak with its launcher through the descriptor that PMI_FD names; empty: it can, or there is none.
// MPICH itself aborts the process then.
std::string what_cuts_off(const Environment &environment);

// Folders of libraries beside the launcher that is an ancestor of this process, such as /opt/openmpi/lib.
std::vector<std::string> folders_beside_launcher();

}  // namespace infonce::mpi

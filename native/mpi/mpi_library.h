// libmpi, opened at run time.
#pragma once

#include <memory>
#include <string>

#include "mpi/calls.h"
#include "mpi/launcher.h"

namespace infonce::mpi {

struct MpiLibrary {
  std::string name;  // "Open MPI 4.1.4"
  std::string path;
  Implementation implementation;
  std::unique_ptr<Calls> calls;
};

// `wanted`: a name or a path, or empty for those that go with the launcher. The library stays for the life of the process.
// Throws NoLibrary or WrongLauncher.
MpiLibrary open_library(const std::string &wanted, const Launcher &launcher);

// What a library's description of itself comes to: "Open MPI 4.1.4", "MPICH 4.0.2", "Intel MPI 2021.11".
std::string name_in(const std::string &version);
Implementation implementation_in(const std::string &version);

}  // namespace infonce::mpi

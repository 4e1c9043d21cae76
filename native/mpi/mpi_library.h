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

// Before `open_library`, on a thread that may change the environment: has UCX, which libmpi may rest on, leave the functions
// of libc as they are, unless the environment says what it is to do. While UCX is loaded it tries whether it sees the heap
// grow, by a page that it takes back: of what another thread has meanwhile allocated, if one has.
void leave_libc_alone();

// What a library's description of itself comes to: "Open MPI 4.1.4", "MPICH 4.0.2", "Intel MPI 2021.11".
std::string name_in(const std::string &version);
Implementation implementation_in(const std::string &version);

}  // namespace infonce::mpi

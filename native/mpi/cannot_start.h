// Why there is no process group over MPI. Each message names what was found, what was expected, and the remedy.
#pragma once

#include <stdexcept>

namespace infonce::mpi {

class CannotStart : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

// No MPI library was found, or this platform has no such transport.
class NoLibrary : public CannotStart {
  using CannotStart::CannotStart;
};

// Said on other platforms.
constexpr char kElsewhere[] =
    "process groups over MPI are there on Linux only: engine 'local' is there everywhere, for threads of one process";

// The library is not the one that the launcher serves: every process would be alone.
class WrongLauncher : public CannotStart {
  using CannotStart::CannotStart;
};

// The launcher's connection was closed on the way to this process, as npx does.
class LauncherCutOff : public CannotStart {
  using CannotStart::CannotStart;
};

// MPI starts once in a process, and it was started before.
class StartedBefore : public CannotStart {
  using CannotStart::CannotStart;
};

// The library does not allow the threads that are needed.
class ThreadsRefused : public CannotStart {
  using CannotStart::CannotStart;
};

// Not all ranks have come in time, or MPI reported an error on the way.
class NotAllCame : public CannotStart {
  using CannotStart::CannotStart;
};

}  // namespace infonce::mpi

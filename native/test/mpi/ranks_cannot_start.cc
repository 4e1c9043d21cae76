// Ranks that launches.sh starts so that there can be no group.
#include <doctest/doctest.h>

#include <dlfcn.h>
#include <string>

#include "mpi/cannot_start.h"
#include "test/mpi/ranks.h"

namespace infonce::test {

namespace {

template <typename Error> std::string why_not(const mpi::MpiOptions &options = {}) {
  try {
    mpi::open_mpi(options);
  } catch (const Error &error) {
    return error.what();
  }
  return "";
}

bool contains(const std::string &text, const std::string &part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("the library is that of another launcher" * doctest::test_suite("wrong launcher") * doctest::skip()) {
  const std::string message = why_not<mpi::WrongLauncher>();
  CAPTURE(message);
  CHECK(contains(message, "started 2 processes"));
  CHECK(contains(message, std::getenv("INFONCE_TEST_LAUNCHER")));
  CHECK(contains(message, std::getenv("INFONCE_TEST_MPI")));
  CHECK(contains(message, "INFONCE_MPI_LIBRARY"));
  // Nothing was started, so that it can be tried again with another.
  CHECK(why_not<mpi::WrongLauncher>() == message);
}

// What calls itself srun, of a library that cannot speak with it.
TEST_CASE("every process is alone" * doctest::test_suite("alone") * doctest::skip()) {
  const std::string message = why_not<mpi::WrongLauncher>();
  CAPTURE(message);
  CHECK(contains(message, "srun started 4 processes (SLURM_STEP_NUM_TASKS=4)"));
  CHECK(contains(message, std::getenv("INFONCE_TEST_MPI")));
  CHECK(contains(message, "in a world of 1"));
  CHECK(contains(message, "Start with the mpirun of that library; srun needs the --mpi"));
}

TEST_CASE("the launcher is cut off" * doctest::test_suite("cut off") * doctest::skip()) {
  const std::string message = why_not<mpi::LauncherCutOff>();
  CAPTURE(message);
  CHECK(contains(message, "mpiexec of MPICH started this process (PMI_SIZE=2)"));
  CHECK(contains(message, "MPICH 4.0.2"));
  CHECK(contains(message, "npx"));
  CHECK(contains(message, "start node itself"));
  CHECK(why_not<mpi::LauncherCutOff>() == message);
}

namespace {

// Starts MPI as other code in this process would. Its levels of threads are numbered alike in both families.
void start_elsewhere(int level) {
  void *library = dlopen(std::getenv("INFONCE_TEST_LIBRARY_NAME"), RTLD_NOW | RTLD_LOCAL);
  REQUIRE(library != nullptr);
  const auto init = reinterpret_cast<int (*)(int *, char ***, int, int *)>(dlsym(library, "MPI_Init_thread"));
  int provided = 0;
  REQUIRE(init(nullptr, nullptr, level, &provided) == 0);
  REQUIRE(provided >= level);
}

void end_elsewhere() {
  void *library = dlopen(std::getenv("INFONCE_TEST_LIBRARY_NAME"), RTLD_NOW | RTLD_LOCAL);
  REQUIRE(reinterpret_cast<int (*)()>(dlsym(library, "MPI_Finalize"))() == 0);
}

void exchange_ranks(group::Transport &transport) {
  const int size = transport.size(), rank = transport.rank();
  int theirs = -1;
  const auto sent = transport.send((rank + 1) % size, group::Channel::kForward, &rank, sizeof(rank));
  const auto received = transport.receive((rank + size - 1) % size, group::Channel::kForward, &theirs, sizeof(theirs));
  wait(*sent);
  wait(*received);
  CHECK(theirs == (rank + size - 1) % size);
}

}  // namespace

TEST_CASE("other code has started MPI, for all threads" * doctest::test_suite("for all threads") * doctest::skip()) {
  constexpr int kMultiple = 3;
  start_elsewhere(kMultiple);
  for (int times = 0; times < 2; times++) {
    const auto transport = mpi::open_mpi({});
    const auto another = mpi::open_mpi({});
    exchange_ranks(*another);
    exchange_ranks(*transport);
    another->leave(20);
    exchange_ranks(*transport);
    transport->leave(20);
  }
  end_elsewhere();
  const std::string message = why_not<mpi::StartedBefore>();
  CHECK(contains(message, "starts only once in a process"));
  CHECK(contains(message, "create one group, keep it for all calls"));
}

TEST_CASE("other code has started MPI, for one thread" * doctest::test_suite("for one thread") * doctest::skip()) {
  constexpr int kFunneled = 1;
  start_elsewhere(kFunneled);
  const std::string message = why_not<mpi::ThreadsRefused>();
  CHECK(contains(message, "must be started with MPI_THREAD_MULTIPLE there"));
  CHECK(contains(message, "make the group before"));
  end_elsewhere();
}

}  // namespace infonce::test

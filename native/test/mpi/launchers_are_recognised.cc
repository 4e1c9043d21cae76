#include <doctest/doctest.h>

#include <map>
#include <string>

#include "mpi/cannot_start.h"
#include "mpi/launcher.h"
#include "mpi/mpi_library.h"

#ifdef __linux__
#include <sys/socket.h>
#include <unistd.h>
#endif

namespace infonce::test {

using mpi::Implementation;

namespace {

using Variables = std::map<std::string, std::string>;

mpi::Environment holding(const Variables &variables) {
  return [&variables](const char *name) {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  };
}

mpi::Launcher launcher_in(const Variables &variables) { return mpi::find_launcher(holding(variables)); }

}  // namespace

TEST_CASE("launchers are recognised by their variables") {
  CHECK(launcher_in({}).name == "");
  CHECK(launcher_in({{"SLURM_NTASKS", "4"}, {"SLURM_PROCID", "0"}}).name == "");  // a batch script by itself

  const mpi::Launcher open_mpi = launcher_in({{"OMPI_COMM_WORLD_SIZE", "4"}, {"PMIX_RANK", "1"}});
  CHECK(open_mpi.name == "mpirun of Open MPI");
  CHECK(open_mpi.serves == Implementation::kOpenMpi);
  CHECK(open_mpi.size == 4);
  CHECK(open_mpi.evidence == "OMPI_COMM_WORLD_SIZE=4");

  const mpi::Launcher mpich = launcher_in({{"PMI_SIZE", "3"}, {"PMI_RANK", "1"}, {"PMI_FD", "7"}});
  CHECK(mpich.serves == Implementation::kMpich);
  CHECK(mpich.size == 3);

  const Variables step = {{"SLURM_STEP_NUM_TASKS", "8"}, {"SLURM_PROCID", "5"}};
  CHECK(launcher_in(step).name == "srun");
  CHECK(launcher_in(step).serves == Implementation::kUnknown);
  CHECK(launcher_in(step).size == 8);
  // By its plug-in pmi2, for libraries of both families.
  Variables pmi2 = step;
  pmi2.insert({{"PMI_SIZE", "8"}, {"PMI_FD", "9"}});
  CHECK(launcher_in(pmi2).name == "srun");

  // Their mpirun in a job of Slurm; that of MPICH is a task on each host itself.
  Variables inside = {
      {"SLURM_STEP_NUM_TASKS", "2"}, {"SLURM_PROCID", "1"}, {"PMI_SIZE", "16"}, {"MPI_LOCALNRANKS", "8"}};
  CHECK(launcher_in(inside).serves == Implementation::kMpich);
  CHECK(launcher_in(inside).size == 16);
  inside = {{"SLURM_STEP_NUM_TASKS", "2"}, {"SLURM_PROCID", "1"}, {"OMPI_COMM_WORLD_SIZE", "16"}};
  CHECK(launcher_in(inside).serves == Implementation::kOpenMpi);

  CHECK(launcher_in({{"PMIX_RANK", "2"}}).evidence == "PMIX_RANK=2");
  CHECK(launcher_in({{"PMIX_RANK", "2"}}).size == 0);
  CHECK(launcher_in({{"PMI_SIZE", "many"}}).name == "");
}

TEST_CASE("libraries are named as their version says") {
  struct Known {
    const char *version, *name;
    Implementation implementation;
  };
  for (const Known &known : {
           Known{"Open MPI v4.1.4, package: Debian OpenMPI, ident: 4.1.4, repo rev: v4.1.4, May 26, 2022",
                 "Open MPI 4.1.4", Implementation::kOpenMpi},
           Known{"Open MPI v5.0.5rc1, package: Open MPI, ident: 5.0.5rc1", "Open MPI 5.0.5rc1",
                 Implementation::kOpenMpi},
           Known{"MPICH Version:\t4.0.2\nMPICH Release date:\tThu Apr  7 12:34:45 CDT 2022\n", "MPICH 4.0.2",
                 Implementation::kMpich},
           Known{"MPICH Version:      4.3.0\nMPICH Release date: today\n", "MPICH 4.3.0", Implementation::kMpich},
           Known{"Intel(R) MPI Library 2021.11 for Linux* OS\n", "Intel MPI 2021.11", Implementation::kMpich},
           Known{"MPI VERSION    : CRAY MPICH version 8.1.25.17 (ANL base 3.4a2)\nMPI BUILD INFO : Sun\n",
                 "Cray MPICH 8.1.25.17", Implementation::kMpich},
           Known{"MVAPICH2 Version      :\t2.3.7\nMVAPICH2 Release date  :\tWed\n", "MVAPICH2 2.3.7",
                 Implementation::kMpich},
           Known{"Another MPI 1.0\nof somebody\n", "Another MPI 1.0", Implementation::kUnknown},
       }) {
    CHECK(mpi::name_in(known.version) == known.name);
    CHECK(mpi::implementation_in(known.version) == known.implementation);
  }
}

#ifdef __linux__

TEST_CASE("a launcher is cut off where its descriptor is closed or something else") {
  int pair[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
  const std::string open = std::to_string(pair[0]);
  CHECK(mpi::what_cuts_off(holding({})) == "");
  CHECK(mpi::what_cuts_off(holding({{"PMI_FD", open}})) == "");
  REQUIRE(dup2(STDERR_FILENO, pair[0]) == pair[0]);
  CHECK(mpi::what_cuts_off(holding({{"PMI_FD", open}})) == "descriptor " + open + " (PMI_FD) is no socket");
  close(pair[0]);
  CHECK(mpi::what_cuts_off(holding({{"PMI_FD", open}})) == "descriptor " + open + " (PMI_FD) is closed");
  const int listening = socket(AF_UNIX, SOCK_STREAM, 0);
  CHECK(mpi::what_cuts_off(holding({{"PMI_FD", std::to_string(listening)}})) ==
        "descriptor " + std::to_string(listening) + " (PMI_FD) is not connected");
  close(listening);
  close(pair[1]);
}

TEST_CASE("what cannot be opened is said with its reason") {
  const auto why_not = [](const std::string &wanted) -> std::string {
    try {
      mpi::open_library(wanted, {});
    } catch (const mpi::NoLibrary &failure) {
      return failure.what();
    }
    return "";
  };
  const std::string missing = why_not("/nowhere/libmpi.so.40");
  CHECK(missing.find("\n  /nowhere/libmpi.so.40: cannot open shared object file") != std::string::npos);
  CHECK(missing.find("INFONCE_MPI_LIBRARY") != std::string::npos);
  CHECK(why_not("libc.so.6").find("\n  libc.so.6: it has no function MPI_Init_thread") != std::string::npos);
}

#endif

}  // namespace infonce::test

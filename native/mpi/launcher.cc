#include "mpi/launcher.h"

#include <cstdlib>

#ifdef __linux__
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>
#endif

namespace infonce::mpi {

namespace {

int number(const char *text) { return text == nullptr ? 0 : std::atoi(text); }

struct Sign {
  const char *variable;  // holds the number of processes
  const char *also;      // is set too, or null
  const char *name;
  Implementation serves;
};

// The first that is found counts. Inside a job of Slurm, mpirun sets its own variables beside those of Slurm; the process
// manager of MPICH then has one task of Slurm on each host, so its own come first.
constexpr Sign kSigns[] = {
    {"OMPI_COMM_WORLD_SIZE", nullptr, "mpirun of Open MPI", Implementation::kOpenMpi},
    {"PMI_SIZE", "MPI_LOCALNRANKS", "mpiexec of MPICH", Implementation::kMpich},
    {"SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "srun", Implementation::kUnknown},
    {"FLUX_JOB_SIZE", nullptr, "flux run", Implementation::kUnknown},
    {"PMI_SIZE", nullptr, "mpiexec of MPICH", Implementation::kMpich},
};

}  // namespace

Launcher find_launcher(const Environment &environment) {
  for (const Sign &sign : kSigns) {
    const char *value = environment(sign.variable);
    if (number(value) > 0 && (sign.also == nullptr || environment(sign.also) != nullptr)) {
      return {sign.name, sign.serves, number(value), std::string(sign.variable) + "=" + value};
    }
  }
  if (environment("PMIX_RANK") != nullptr) {
    return {"a launcher with PMIx", Implementation::kUnknown, 0, std::string("PMIX_RANK=") + environment("PMIX_RANK")};
  }
  return {};
}

#ifdef __linux__

std::string what_cuts_off(const Environment &environment) {
  const char *text = environment("PMI_FD");
  if (text == nullptr) {
    return "";
  }
  const int descriptor = number(text);
  const std::string name = std::string("descriptor ") + text + " (PMI_FD)";
  if (fcntl(descriptor, F_GETFD) < 0) {
    return name + " is closed";
  }
  sockaddr_storage peer;
  socklen_t length = sizeof(peer);
  if (getpeername(descriptor, reinterpret_cast<sockaddr *>(&peer), &length) < 0) {
    return name + (errno == ENOTSOCK ? " is no socket" : " is not connected");
  }
  return "";
}

namespace {

int parent_of(int process) {
  std::FILE *file = std::fopen(("/proc/" + std::to_string(process) + "/stat").c_str(), "r");
  if (file == nullptr) {
    return 0;
  }
  char text[512];
  const size_t length = std::fread(text, 1, sizeof(text) - 1, file);
  std::fclose(file);
  text[length] = '\0';
  // "pid (name) state parent": the name may hold anything.
  const char *after = std::strrchr(text, ')');
  int parent = 0;
  return after != nullptr && std::sscanf(after + 1, " %*c %d", &parent) == 1 ? parent : 0;
}

std::string program_of(int process) {
  char path[4096];
  const ssize_t length = readlink(("/proc/" + std::to_string(process) + "/exe").c_str(), path, sizeof(path));
  return length > 0 ? std::string(path, static_cast<size_t>(length)) : "";
}

bool is_launcher(const std::string &name) {
  for (const char *known : {"mpirun", "mpiexec", "orterun", "orted", "prterun", "prted", "hydra_pmi_proxy"}) {
    if (name.compare(0, std::strlen(known), known) == 0) {
      return true;
    }
  }
  return false;
}

}  // namespace

std::vector<std::string> folders_beside_launcher() {
  constexpr int kGenerations = 8;  // npx, a shell, a script between
  int process = getppid();
  for (int i = 0; i < kGenerations && process > 1; i++, process = parent_of(process)) {
    const std::string program = program_of(process);
    const size_t slash = program.rfind('/');
    if (slash == std::string::npos || !is_launcher(program.substr(slash + 1))) {
      continue;
    }
    const size_t above = program.rfind('/', slash - 1);
    if (slash > 0 && above != std::string::npos) {
      const std::string prefix = program.substr(0, above);
      return {prefix + "/lib", prefix + "/lib64"};
    }
  }
  return {};
}

#else

std::string what_cuts_off(const Environment &) { return ""; }
std::vector<std::string> folders_beside_launcher() { return {}; }

#endif

}  // namespace infonce::mpi

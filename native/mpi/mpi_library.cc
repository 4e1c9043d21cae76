#include "mpi/mpi_library.h"

#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <optional>
#include <utility>
#include <vector>

#include "mpi/cannot_start.h"
#include "mpi/typed_calls.h"

#ifdef __linux__
#include <dlfcn.h>
#include <unistd.h>
#endif

namespace infonce::mpi {

namespace {

bool contains(const std::string &text, const char *part) { return text.find(part) != std::string::npos; }

// The first number with a point in it, such as 4.0.2, from `from` on.
std::string number_after(const std::string &text, size_t from) {
  const size_t begin = text.find_first_of("0123456789", from);
  if (begin == std::string::npos) {
    return "";
  }
  size_t end = text.find_first_of(" \t\r\n,()", begin);
  end = end == std::string::npos ? text.size() : end;
  return " " + text.substr(begin, end - begin);
}

struct Wording {
  const char *says;
  const char *name;
};

// The more special first: all of the MPICH family may name MPICH, too.
constexpr Wording kWordings[] = {
    {"Open MPI v", "Open MPI"},
    {"Intel(R) MPI Library", "Intel MPI"},
    {"CRAY MPICH version", "Cray MPICH"},
    {"MVAPICH2 Version", "MVAPICH2"},
    {"MVAPICH Version", "MVAPICH"},
    {"MPICH Version", "MPICH"},
    {"ParaStation MPI", "ParaStation MPI"},
};

}  // namespace

std::string name_in(const std::string &version) {
  for (const Wording &wording : kWordings) {
    const size_t at = version.find(wording.says);
    if (at != std::string::npos) {
      return wording.name + number_after(version, at + std::strlen(wording.says));
    }
  }
  return version.substr(0, version.find_first_of("\r\n"));
}

Implementation implementation_in(const std::string &version) {
  if (contains(version, "Open MPI")) {
    return Implementation::kOpenMpi;
  }
  for (const char *kin : {"MPICH", "Intel", "MVAPICH", "ParaStation"}) {
    if (contains(version, kin)) {
      return Implementation::kMpich;
    }
  }
  return Implementation::kUnknown;
}

#ifdef __linux__

namespace {

using Handle = void *;

// What was tried, with the reason why it does not serve.
struct Tried {
  std::string path;
  std::string reason;
};

template <typename F> std::unique_ptr<Calls> bind(Handle handle, const Handles<F> &handles) {
  Functions<F> functions{};
  functions.for_each([&](const char *name, auto &function) {
    void *symbol = dlsym(handle, name);
    if (symbol == nullptr) {
      throw NoLibrary(std::string("it has no function ") + name + ": MPI 3.0 or newer is needed");
    }
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(symbol);
  });
  return std::make_unique<TypedCalls<F>>(functions, handles);
}

template <typename T> T variable(Handle handle, const char *name) {
  void *symbol = dlsym(handle, name);
  if (symbol == nullptr) {
    throw NoLibrary(std::string("it has no variable ") + name + ", as Open MPI does");
  }
  return reinterpret_cast<T>(symbol);
}

std::unique_ptr<Calls> bind_open_mpi(Handle handle) {
  return bind<OpenMpi>(handle, {variable<OpenMpi::Comm>(handle, "ompi_mpi_comm_world"),
                                variable<OpenMpi::Datatype>(handle, "ompi_mpi_byte"),
                                variable<OpenMpi::Errhandler>(handle, "ompi_mpi_errors_return"),
                                variable<OpenMpi::Info>(handle, "ompi_mpi_info_null")});
}

std::unique_ptr<Calls> bind_standard(Handle handle) {
  return bind<StandardAbi>(handle, {reinterpret_cast<StandardAbi::Comm>(StandardAbi::kWorld),
                                    reinterpret_cast<StandardAbi::Datatype>(StandardAbi::kByte),
                                    reinterpret_cast<StandardAbi::Errhandler>(StandardAbi::kErrorsReturn),
                                    reinterpret_cast<StandardAbi::Info>(StandardAbi::kNoInfo)});
}

std::unique_ptr<Calls> bind_mpich(Handle handle) {
  return bind<Mpich>(handle, {Mpich::kWorld, Mpich::kByte, Mpich::kErrorsReturn, Mpich::kNoInfo});
}

// The version of the standard's binary interface that the library has, or 0.
int standard_abi(Handle handle) {
  const auto get_version = reinterpret_cast<int (*)(int *, int *)>(dlsym(handle, "MPI_Abi_get_version"));
  int major = 0, minor = 0;
  return get_version != nullptr && get_version(&major, &minor) == 0 && major > 0 ? major : 0;
}

std::string file_of(Handle handle) {
  Dl_info info;
  void *symbol = dlsym(handle, "MPI_Init_thread");
  return symbol != nullptr && dladdr(symbol, &info) != 0 && info.dli_fname != nullptr ? info.dli_fname : "";
}

// By its symbols. MPI 5 has MPI_Abi_get_version in libraries of both interfaces, and a library of the standard's interface
// may rest on another one that has Open MPI's variables.
std::unique_ptr<Calls> recognise(Handle handle, const std::string &path) {
  const bool open_mpi = dlsym(handle, "ompi_mpi_comm_world") != nullptr;
  const int abi = standard_abi(handle);
  if (abi > 0 && (!open_mpi || contains(path, "mpi_abi"))) {
    if (abi != 1) {
      throw NoLibrary("it has version " + std::to_string(abi) + " of MPI's binary interface; version 1 is known here");
    }
    return bind_standard(handle);
  }
  return open_mpi ? bind_open_mpi(handle) : bind_mpich(handle);
}

// Throws NoLibrary with the reason alone.
MpiLibrary open_one(const std::string &name) {
  const Handle handle = dlopen(name.c_str(), RTLD_LOCAL | RTLD_NOW);
  if (handle == nullptr) {
    throw NoLibrary(dlerror());
  }
  MpiLibrary library;
  library.path = file_of(handle);
  if (library.path.empty()) {
    throw NoLibrary("it has no function MPI_Init_thread");
  }
  library.calls = recognise(handle, library.path);
  const std::string version = library.calls->version();
  library.name = name_in(version);
  library.implementation = implementation_in(version);
  if (library.implementation == Implementation::kUnknown) {
    throw NoLibrary("it is '" + library.name + "', whose binary interface is not known here: Open MPI, the MPICH " +
                    "family and the interface of MPI 5 are");
  }
  return library;
}

std::vector<std::string> names_for(Implementation launched) {
  const std::vector<std::string> open_mpi = {"libmpi.so.40"};
  const std::vector<std::string> mpich = {"libmpi.so.12", "libmpich.so.12", "libmpi_cray.so.12", "libmpi_gnu.so.12"};
  std::vector<std::string> names = launched == Implementation::kMpich ? mpich : open_mpi;
  const std::vector<std::string> &others = launched == Implementation::kMpich ? open_mpi : mpich;
  // One that suits the launcher first, whatever its name, then one of which can be told that it does not.
  const std::vector<std::string> any = {"libmpi_abi.so.1", "libmpi_abi.so.0", "libmpi.so"};
  names.insert(names.end(), any.begin(), any.end());
  names.insert(names.end(), others.begin(), others.end());
  return names;
}

// Names to be tried in this order. Of a launcher that is not where the system's libraries belong to, its own come first.
std::vector<std::string> candidates(Implementation launched) {
  const std::vector<std::string> names = names_for(launched);
  std::vector<std::string> all;
  for (const std::string &folder : folders_beside_launcher()) {
    for (const std::string &name : names) {
      const std::string path = folder + "/" + name;
      if (access(path.c_str(), F_OK) == 0) {
        all.push_back(path);
      }
    }
  }
  all.insert(all.end(), names.begin(), names.end());
  return all;
}

bool serves(const Launcher &launcher, const MpiLibrary &library) {
  return launcher.size <= 1 || launcher.serves == Implementation::kUnknown || launcher.serves == library.implementation;
}

const char *remedy(Implementation launched) {
  return launched == Implementation::kOpenMpi
             ? "Start with the mpiexec of that library, or install Open MPI's (Debian: libopenmpi3), or name its "
               "libmpi.so.40 in INFONCE_MPI_LIBRARY."
             : "Start with the mpirun of that library, or install MPICH's (Debian: libmpich12), or name its "
               "libmpi.so.12 "
               "in INFONCE_MPI_LIBRARY.";
}

std::string list(const std::vector<Tried> &tried) {
  std::string text;
  for (const Tried &one : tried) {
    // What dlopen says begins with the name.
    text += "\n  " + (one.reason.compare(0, one.path.size(), one.path) == 0 ? "" : one.path + ": ") + one.reason;
  }
  return text;
}

}  // namespace

void leave_libc_alone() {
  if (std::getenv("UCX_MEM_EVENTS") == nullptr) {
    setenv("UCX_MEM_MMAP_HOOK_MODE", "none", 0);
  }
}

MpiLibrary open_library(const std::string &wanted, const Launcher &launcher) {
  std::vector<std::string> names = wanted.empty() ? candidates(launcher.serves) : std::vector<std::string>{wanted};
  std::vector<Tried> tried;
  std::optional<MpiLibrary> other;
  for (const std::string &name : names) {
    try {
      MpiLibrary library = open_one(name);
      if (serves(launcher, library)) {
        return library;
      }
      if (!other) {
        other = std::move(library);
      }
    } catch (const NoLibrary &failure) {
      tried.push_back({name, failure.what()});
    }
  }
  if (other) {
    throw WrongLauncher(launcher.name + " started " + std::to_string(launcher.size) + " processes (" +
                        launcher.evidence + "), but the MPI library " +
                        (wanted.empty() ? "that was found" : "asked for") + " is " + other->name + " (" + other->path +
                        "): every process would be alone, in a world of 1. " + remedy(launcher.serves) +
                        (tried.empty() ? "" : " Tried before:" + list(tried)));
  }
  throw NoLibrary((wanted.empty() ? std::string("no MPI library was found. Install Open MPI (Debian: openmpi-bin) or "
                                                "MPICH (Debian: mpich), or name the path of libmpi in "
                                                "INFONCE_MPI_LIBRARY. Tried:")
                                  : "the MPI library asked for cannot be used: name another in INFONCE_MPI_LIBRARY, or "
                                    "none to search for one. Tried:") +
                  list(tried));
}

#else

void leave_libc_alone() {}

MpiLibrary open_library(const std::string &, const Launcher &) { throw NoLibrary(kElsewhere); }

#endif

}  // namespace infonce::mpi

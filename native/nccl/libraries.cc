#include "nccl/libraries.h"

#include <cstdlib>
#include <type_traits>

#include "nccl/cannot_start.h"

#ifdef __linux__
#include <dlfcn.h>
#endif

namespace infonce::nccl {

std::string version_in(int code) {
  const int major = code < 10000 ? 1000 : 10000;
  return std::to_string(code / major) + "." + std::to_string(code % major / 100) + "." + std::to_string(code % 100);
}

#ifdef __linux__

namespace {

constexpr char kLibrary[] = "libnccl.so.2";
constexpr char kDriver[] = "libcuda.so.1";

// The library's functions, or why it does not serve.
template <typename Functions> std::string bind(void *handle, Functions &functions) {
  std::string missing;
  functions.for_each([&](const char *name, auto &function) {
    void *symbol = dlsym(handle, name);
    if (!symbol && missing.empty()) missing = std::string("it has no function ") + name;
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(symbol);
  });
  return missing;
}

// Why it does not serve; empty: it does.
std::string open_one(const std::string &name, NcclLibrary &library) {
  void *handle = dlopen(name.c_str(), RTLD_LOCAL | RTLD_NOW);
  if (!handle) return dlerror();
  const auto get_version = reinterpret_cast<int (*)(int *)>(dlsym(handle, "ncclGetVersion"));
  int version = 0;
  if (!get_version || get_version(&version) != kSuccess) return name + ": it has no function ncclGetVersion";
  library.name = "NCCL " + version_in(version);
  if (version < kOldestVersion)
    return name + ": it is " + library.name + ", and " + version_in(kOldestVersion) + " or newer is needed";
  const std::string missing = bind(handle, library.functions);
  return missing.empty() ? "" : name + ": " + missing;
}

}  // namespace

NcclLibrary open_nccl_library(const std::string &wanted) {
  const char *named = std::getenv("INFONCE_NCCL_LIBRARY");
  const std::string asked = !wanted.empty() ? wanted : named ? named : "";
  NcclLibrary library{};
  const std::string reason = open_one(asked.empty() ? kLibrary : asked, library);
  if (reason.empty()) return library;
  throw CannotStart(asked.empty() ? "no NCCL library was found: " + reason +
                                        ". Install NCCL 2.14 or newer (libnccl2 of NVIDIA's packages, or "
                                        "nvidia-nccl-cu12 of pip), and name the path of its libnccl.so.2 in "
                                        "INFONCE_NCCL_LIBRARY where it is not found by itself. Without GPUs, use "
                                        "engine: 'mpi'"
                                  : "the NCCL library asked for cannot be used: " + reason +
                                        ". Name another in INFONCE_NCCL_LIBRARY, or none for libnccl.so.2");
}

Driver open_driver() {
  void *handle = dlopen(kDriver, RTLD_LOCAL | RTLD_NOW);
  if (!handle)
    throw CannotStart(std::string("NCCL needs an NVIDIA GPU, and there is no driver of one here: ") + dlerror() +
                      ". Install the driver, in a container start it with the GPUs (--gpus all), or use engine: 'mpi'");
  Driver driver{};
  const std::string missing = bind(handle, driver);
  if (!missing.empty()) throw CannotStart(std::string(kDriver) + " is too old: " + missing + ". Update the driver");
  return driver;
}

#else

namespace {
constexpr char kLinuxOnly[] = "process groups over NCCL are there on Linux only: use engine: 'local'";
}

NcclLibrary open_nccl_library(const std::string &) { throw CannotStart(kLinuxOnly); }
Driver open_driver() { throw CannotStart(kLinuxOnly); }

#endif

}  // namespace infonce::nccl

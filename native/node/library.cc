#include "node/library.h"

#include <map>
#include <mutex>
#include <utility>

#ifdef _WIN32
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>

#include <filesystem>
#else
#include <dlfcn.h>
#endif

#include "node/failure.h"

namespace infonce::node {

namespace {

Failure unavailable(std::string message) { return {INFONCE_DEVICE_UNAVAILABLE, std::move(message)}; }

#ifdef _WIN32

using Handle = HMODULE;

Handle open_library(const std::string &path) {
  const Handle handle = LoadLibraryW(std::filesystem::u8path(path).c_str());
  if (handle == nullptr) {
    throw unavailable("the library cannot be loaded: Windows error " + std::to_string(GetLastError()));
  }
  return handle;
}

void *find_symbol(Handle handle, const char *name) { return reinterpret_cast<void *>(GetProcAddress(handle, name)); }

void close_library(Handle handle) { FreeLibrary(handle); }

#else

using Handle = void *;

Handle open_library(const std::string &path) {
  const Handle handle = dlopen(path.c_str(), RTLD_LOCAL | RTLD_NOW);
  if (handle == nullptr) {
    throw unavailable(std::string("the library cannot be loaded: ") + dlerror());
  }
  return handle;
}

void *find_symbol(Handle handle, const char *name) { return dlsym(handle, name); }

void close_library(Handle handle) { dlclose(handle); }

#endif

std::string version(uint32_t number) { return "version " + std::to_string(number); }

// Asks the library for its table.
const infonce_backend &enter(Handle handle) {
  const auto entry = reinterpret_cast<infonce_backend_entry *>(find_symbol(handle, INFONCE_BACKEND_SYMBOL));
  if (entry == nullptr) {
    throw unavailable("the library is no backend of infonce: it has no function " INFONCE_BACKEND_SYMBOL);
  }
  infonce_failure report = empty_report();
  const infonce_backend *backend = entry(INFONCE_ABI_VERSION, sizeof(infonce_backend), &report);
  const std::string ours = "this package has interface " + version(INFONCE_ABI_VERSION);
  if (backend == nullptr) {
    throw unavailable(ours + ", which the library refuses: " + report.message);
  }
  if (backend->abi_version != INFONCE_ABI_VERSION || backend->struct_size != sizeof(infonce_backend)) {
    throw unavailable(ours + ", the library has " + version(backend->abi_version));
  }
  return *backend;
}

const infonce_backend &load(const std::string &path) {
  const Handle handle = open_library(path);
  try {
    return enter(handle);
  } catch (...) {
    close_library(handle);
    throw;
  }
}

}  // namespace

const infonce_backend &shared_backend(const std::string &path) {
  // Never destroyed: worker threads may still be inside a backend while the process exits.
  static auto &mutex = *new std::mutex;
  static auto &loaded = *new std::map<std::string, const infonce_backend *>;
  const std::lock_guard<std::mutex> lock(mutex);
  const auto known = loaded.find(path);
  if (known != loaded.end()) {
    return *known->second;
  }
  const infonce_backend &backend = load(path);
  loaded.emplace(path, &backend);
  return backend;
}

const infonce_backend &backend_in(const std::string &library) {
  return library.empty() ? *infonce_cpu_backend() : shared_backend(library);
}

}  // namespace infonce::node

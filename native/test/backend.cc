#include "test/backend.h"

#include <cstdlib>
#include <cstring>

#if !defined(_WIN32)
#include <dlfcn.h>
#endif

#include "test/context.h"

namespace infonce::test {

namespace {

struct Loaded {
  const infonce_backend *backend = nullptr;
  std::string error;
};

#if defined(_WIN32)
Loaded load(const char *path) { return {nullptr, std::string("shared backends are not tested on Windows: ") + path}; }
#else
// The library stays loaded until the process ends.
Loaded load(const char *path) {
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  void *symbol = library ? dlsym(library, INFONCE_BACKEND_SYMBOL) : nullptr;
  if (!symbol) {
    return {nullptr, dlerror()};
  }
  infonce_failure failure = empty_failure();
  const auto entry = reinterpret_cast<infonce_backend_entry *>(symbol);
  const infonce_backend *found = entry(INFONCE_ABI_VERSION, sizeof(infonce_backend), &failure);
  return {found, failure.message};
}
#endif

const Loaded &chosen() {
  static const Loaded loaded = [] {
    const char *path = std::getenv("INFONCE_TEST_LIBRARY");
    return path && *path ? load(path) : Loaded{infonce_cpu_backend(), ""};
  }();
  return loaded;
}

}  // namespace

const infonce_backend &backend() { return *chosen().backend; }

std::string why_unusable() {
  if (!chosen().backend) {
    return chosen().error;
  }
  infonce_failure failure = empty_failure();
  if (backend().device_count(&failure) > 0) {
    return "";
  }
  return *failure.message ? failure.message : "no device";
}

bool on_cpu() { return chosen().backend == infonce_cpu_backend(); }

bool has_begin_and_end() { return chosen().backend && chosen().backend->begin; }

bool simulated() {
  const char *effort = std::getenv("INFONCE_TEST_EFFORT");
  return effort && std::strcmp(effort, "simulator") == 0;
}

bool on_simulator() { return simulated() && !on_cpu(); }

}  // namespace infonce::test

#include "test/nccl/ranks.h"

#include <chrono>
#include <cstdlib>
#include <dlfcn.h>
#include <exception>
#include <map>
#include <mutex>
#include <stdexcept>
#include <thread>

#include "nccl/cannot_start.h"
#include "test/backend.h"
#include "test/group.h"

namespace infonce::test {

namespace {

// One for all ranks of a key.
nccl::UniqueId id_of(const std::string &key) {
  static std::mutex mutex;
  static std::map<std::string, nccl::UniqueId> ids;
  const std::lock_guard<std::mutex> lock(mutex);
  if (!ids.count(key)) ids[key] = nccl::new_unique_id("");
  return ids[key];
}

// Before any test.
const bool joins_over_nccl = [] {
  set_join([](const std::string &key, int rank, int size) {
    nccl::NcclOptions options = options_of(id_of(key), rank, size);
    if (!on_cpu()) options.device = 0;  // that of the contexts
    return open_nccl(options);
  });
  return true;
}();

}  // namespace

nccl::NcclOptions options_of(const nccl::UniqueId &id, int rank, int size) {
  nccl::NcclOptions options;
  options.id = id;
  options.rank = rank;
  options.size = size;
  options.patience = 100;
  return options;
}

void on_transports(int size, const std::function<void(group::Transport &)> &body) {
  const nccl::UniqueId id = nccl::new_unique_id("");
  std::exception_ptr failure;
  std::mutex mutex;
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank)
    threads.emplace_back([&, rank] {
      try {
        body(*open_nccl(options_of(id, rank, size)));
      } catch (...) {
        const std::lock_guard<std::mutex> lock(mutex);
        failure = std::current_exception();
      }
    });
  for (std::thread &thread : threads) thread.join();
  if (failure) std::rethrow_exception(failure);
}

std::string why_not(const nccl::NcclOptions &options) {
  try {
    open_nccl(options);
    return "";
  } catch (const nccl::CannotStart &failure) {
    return failure.what();
  }
}

std::string outcome(group::Exchange &exchange) {
  const auto begun = std::chrono::steady_clock::now();
  try {
    while (!exchange.has_ended()) {
      if (std::chrono::steady_clock::now() - begun > std::chrono::seconds(100)) throw std::runtime_error("it hangs");
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
    return "";
  } catch (const group::Lost &failure) {
    return failure.what();
  }
}

Variable::Variable(const char *name, const std::string &value) : name_(name) {
  if (const char *before = std::getenv(name)) before_ = before, was_set_ = true;
  setenv(name, value.c_str(), 1);
}

Variable::~Variable() {
  if (was_set_) setenv(name_, before_.c_str(), 1);
  else unsetenv(name_);
}

int live_objects() {
  void *handle = dlopen(std::getenv("INFONCE_NCCL_LIBRARY"), RTLD_NOW | RTLD_LOCAL);
  void *symbol = handle ? dlsym(handle, "infonce_test_live_objects") : nullptr;
  if (!symbol) throw std::runtime_error("INFONCE_NCCL_LIBRARY is not the stand-in of these tests");
  return reinterpret_cast<int (*)()>(symbol)();
}

}  // namespace infonce::test

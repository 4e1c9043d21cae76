#pragma once

#include <string>
#include <vector>

#include "infonce/infonce.h"
#include "test/backend.h"

namespace infonce::test {

class Context {
 public:
  Context(const std::string &instruction_set, infonce_precision precision, int threads,
          const infonce_backend &backend = test::backend(), void *stream = nullptr, int32_t device = 0);
  ~Context();
  Context(const Context &) = delete;
  Context &operator=(const Context &) = delete;

  infonce_status run(const infonce_problem &problem, infonce_result &result, infonce_failure &failure) const;
  infonce_context *handle() const { return context_; }

 private:
  const infonce_backend &backend_;
  infonce_context *context_ = nullptr;
};

infonce_device_info device_info(const infonce_backend &backend = test::backend());
std::vector<std::string> instruction_sets_of(const infonce_device_info &info);

// The device's instruction sets, best first. Fails where compute capability 9.0 lacks a generation of kernels.
std::vector<std::string> every_instruction_set(const infonce_backend &backend = test::backend());

// The same or, of the backend under test, the one that INFONCE_ISA forces.
std::vector<std::string> instruction_sets(const infonce_backend &backend = test::backend());

// The numbers of threads to test with.
std::vector<int> thread_counts();

infonce_failure empty_failure();

}  // namespace infonce::test

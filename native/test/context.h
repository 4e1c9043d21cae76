#pragma once

#include <string>
#include <vector>

#include "infonce/infonce.h"

namespace infonce::test {

// A context of the CPU backend.
class Context {
 public:
  Context(const std::string &instruction_set, infonce_precision precision, int threads);
  ~Context();
  Context(const Context &) = delete;
  Context &operator=(const Context &) = delete;

  infonce_status run(const infonce_problem &problem, infonce_result &result, infonce_failure &failure) const;

 private:
  infonce_context *context_ = nullptr;
};

// All that this machine can be made to use.
std::vector<std::string> instruction_sets();

infonce_failure empty_failure();

}  // namespace infonce::test

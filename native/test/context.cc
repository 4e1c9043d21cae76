#include "test/context.h"

#include <doctest/doctest.h>

#include <sstream>

namespace infonce::test {

Context::Context(const std::string &instruction_set, infonce_precision precision, int threads) {
  infonce_context_options options{};
  options.struct_size = sizeof(options);
  options.precision = precision;
  options.threads = threads;
  options.instruction_set = instruction_set.c_str();
  infonce_failure failure = empty_failure();
  const infonce_status status = infonce_cpu_backend()->context_create(&options, &context_, &failure);
  REQUIRE_MESSAGE(status == INFONCE_OK, failure.message);
}

Context::~Context() { infonce_cpu_backend()->context_destroy(context_); }

infonce_status Context::run(const infonce_problem &problem, infonce_result &result, infonce_failure &failure) const {
  return infonce_cpu_backend()->run(context_, &problem, &result, &failure);
}

std::vector<std::string> instruction_sets() {
  infonce_device_info info{};
  info.struct_size = sizeof(info);
  infonce_failure failure = empty_failure();
  const infonce_status status = infonce_cpu_backend()->device_info(0, &info, &failure);
  REQUIRE_MESSAGE(status == INFONCE_OK, failure.message);
  std::istringstream words(info.instruction_sets);
  std::vector<std::string> names;
  for (std::string word; words >> word;) {
    names.push_back(word);
  }
  return names;
}

infonce_failure empty_failure() {
  infonce_failure failure{};
  failure.struct_size = sizeof(failure);
  failure.row = -1;
  return failure;
}

}  // namespace infonce::test

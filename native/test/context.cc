#include "test/context.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <cstring>
#include <sstream>

namespace infonce::test {

Context::Context(const std::string &instruction_set, infonce_precision precision, int threads,
                 const infonce_backend &backend, void *stream, int32_t device)
    : backend_(backend) {
  infonce_context_options options{};
  options.struct_size = sizeof(options);
  options.trace = 1;
  options.precision = precision;
  options.threads = threads;
  options.instruction_set = instruction_set.c_str();
  options.stream = stream;
  options.device = device;
  infonce_failure failure = empty_failure();
  const infonce_status status = backend_.context_create(&options, &context_, &failure);
  REQUIRE_MESSAGE(status == INFONCE_OK, failure.message);
}

Context::~Context() { backend_.context_destroy(context_); }

infonce_status Context::run(const infonce_problem &problem, infonce_result &result, infonce_failure &failure) const {
  return backend_.run(context_, &problem, &result, &failure);
}

infonce_device_info device_info(const infonce_backend &backend) {
  infonce_device_info info{};
  info.struct_size = sizeof(info);
  infonce_failure failure = empty_failure();
  const infonce_status status = backend.device_info(0, &info, &failure);
  REQUIRE_MESSAGE(status == INFONCE_OK, failure.message);
  return info;
}

std::vector<std::string> instruction_sets_of(const infonce_device_info &info) {
  std::istringstream words(info.instruction_sets);
  std::vector<std::string> names;
  for (std::string word; words >> word;) {
    names.push_back(word);
  }
  return names;
}

std::vector<std::string> every_instruction_set(const infonce_backend &backend) {
  const infonce_device_info info = device_info(backend);
  const std::vector<std::string> names = instruction_sets_of(info);
  if (std::strcmp(info.capability, "9.0") == 0) {
    REQUIRE_MESSAGE(names == std::vector<std::string>({"sm90", "sm80"}), info.note);
  }
  return names;
}

std::vector<std::string> instruction_sets(const infonce_backend &backend) {
  const char *forced = std::getenv("INFONCE_ISA");
  if (forced && *forced && &backend == &test::backend()) {
    return {forced};
  }
  return every_instruction_set(backend);
}

std::vector<int> thread_counts() { return on_cpu() ? std::vector<int>{1, 2, 3} : std::vector<int>{1}; }

infonce_failure empty_failure() {
  infonce_failure failure{};
  failure.struct_size = sizeof(failure);
  failure.matrix = INFONCE_NO_MATRIX;
  failure.row = -1;
  return failure;
}

}  // namespace infonce::test

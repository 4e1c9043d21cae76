#include "test/engines.h"

namespace infonce::test {

std::vector<Engine> engines() {
  std::vector<Engine> all;
  for (const std::string &set : instruction_sets()) {
    for (const auto precision : {INFONCE_PRECISION_HIGHEST, INFONCE_PRECISION_HIGH, INFONCE_PRECISION_MEDIUM}) {
      for (const int threads : thread_counts()) {
        all.push_back({set + " precision=" + std::to_string(precision) + " threads=" + std::to_string(threads),
                       precision, std::make_unique<Context>(set, precision, threads)});
      }
    }
  }
  return all;
}

}  // namespace infonce::test

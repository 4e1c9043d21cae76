#include "test/engines.h"

namespace infonce::test {

namespace {

std::vector<Engine> engines_of(const std::vector<infonce_precision> &precisions) {
  std::vector<Engine> all;
  for (const std::string &set : instruction_sets()) {
    for (const infonce_precision precision : precisions) {
      for (const int threads : thread_counts()) {
        all.push_back({set + " precision=" + std::to_string(precision) + " threads=" + std::to_string(threads),
                       precision, std::make_unique<Context>(set, precision, threads)});
      }
    }
  }
  return all;
}

constexpr infonce_precision kHighest = INFONCE_PRECISION_HIGHEST;

}  // namespace

std::vector<Engine> engines() { return engines_of({kHighest, INFONCE_PRECISION_HIGH, INFONCE_PRECISION_MEDIUM}); }

std::vector<Engine> best_engines(const std::vector<infonce_precision> &precisions) {
  std::vector<Engine> best;
  for (const infonce_precision precision : precisions) {
    best.push_back({"best", precision, std::make_unique<Context>(instruction_sets().front(), precision, 2)});
  }
  return best;
}

std::vector<Engine> engines_for_rules() { return simulated() ? engines_of({kHighest}) : engines(); }

}  // namespace infonce::test

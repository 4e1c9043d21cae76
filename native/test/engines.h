#pragma once

#include <memory>
#include <string>
#include <vector>

#include "test/context.h"

namespace infonce::test {

struct Engine {
  std::string name;
  infonce_precision precision;
  std::unique_ptr<Context> context;
};

// A context for each instruction set, precision and number of threads.
std::vector<Engine> engines();

// The best instruction set with two threads, for problems that take long.
std::vector<Engine> best_engines(const std::vector<infonce_precision> &precisions);

// As engines(); where a device is simulated, of 'highest' alone: enough for rules that all precisions share.
std::vector<Engine> engines_for_rules();

}  // namespace infonce::test

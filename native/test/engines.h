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

}  // namespace infonce::test

#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>

#include "test/backend.h"

int main(int argc, char **argv) {
  // ctest takes this status for a test that was skipped.
  constexpr int kSkipped = 77;
  const std::string reason = infonce::test::why_unusable();
  if (!reason.empty()) {
    std::printf("skipped: %s\n", reason.c_str());
    return kSkipped;
  }
  return doctest::Context(argc, argv).run();
}

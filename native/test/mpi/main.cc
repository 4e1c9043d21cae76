#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include "test/mpi/ranks.h"

// Tests that need ranks are skipped, unless launches.sh asks for them.
int main(int argc, char **argv) {
  const int failed = doctest::Context(argc, argv).run();
  infonce::test::leave_if_open();
  return failed;
}

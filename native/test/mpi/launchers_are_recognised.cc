#include <doctest/doctest.h>

#include "mpi/launcher.h"
#include "mpi/mpi_library.h"

namespace infonce::test {

TEST_CASE("libraries are named") {
  CHECK(mpi::name_in("Open MPI v4.1.4, package: Debian OpenMPI, ident: 4.1.4, repo rev: v4.1.4, May 26, 2022") ==
        "Open MPI 4.1.4");
}

}  // namespace infonce::test

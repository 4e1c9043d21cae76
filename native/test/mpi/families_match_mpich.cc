#include "test/mpi/families_match.h"

#ifndef MPICH_VERSION
#error "this is not the mpi.h of MPICH"
#endif

namespace infonce::mpi {

template struct Matches<Mpich>;

static_assert(Mpich::kWorld == MPI_COMM_WORLD);
static_assert(Mpich::kByte == MPI_BYTE);
static_assert(Mpich::kErrorsReturn == MPI_ERRORS_RETURN);
static_assert(Mpich::kNoInfo == MPI_INFO_NULL);

}  // namespace infonce::mpi

// A struct of the other families, which this mpi.h gives another meaning.
#define MPI_Status status_of_others
#include "mpi/families.h"
#undef MPI_Status

#include "test/mpi/families_match.h"

#ifndef OPEN_MPI
#error "this is not the mpi.h of Open MPI"
#endif

namespace infonce::mpi {

template struct Matches<OpenMpi>;

// The variables that mpi_library.cc asks for.
static_assert(std::is_same_v<decltype(ompi_mpi_comm_world), ompi_predefined_communicator_t>);
static_assert(std::is_same_v<decltype(ompi_mpi_byte), ompi_predefined_datatype_t>);
static_assert(std::is_same_v<decltype(ompi_mpi_errors_return), ompi_predefined_errhandler_t>);
static_assert(std::is_same_v<decltype(ompi_mpi_info_null), ompi_predefined_info_t>);

}  // namespace infonce::mpi

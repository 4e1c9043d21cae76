// Compared while this is compiled: the functions that are called have the types that the family's own mpi.h gives them.
#pragma once

#include <type_traits>

#include <mpi.h>

#include "mpi/families.h"

namespace infonce::mpi {

template <typename F> struct Matches {
  using Ours = Functions<F>;
  template <typename A, typename B> static constexpr bool same = std::is_same_v<A, B>;

  static_assert(same<typename F::Comm, MPI_Comm>);
  static_assert(same<typename F::Datatype, MPI_Datatype>);
  static_assert(same<typename F::Errhandler, MPI_Errhandler>);
  static_assert(same<typename F::Info, MPI_Info>);
  static_assert(same<typename F::Request, MPI_Request>);
  static_assert(same<typename F::Message, MPI_Message>);
  static_assert(same<typename F::Status, MPI_Status>);

  static_assert(same<decltype(Ours::initialized), decltype(&MPI_Initialized)>);
  static_assert(same<decltype(Ours::finalized), decltype(&MPI_Finalized)>);
  static_assert(same<decltype(Ours::init_thread), decltype(&MPI_Init_thread)>);
  static_assert(same<decltype(Ours::query_thread), decltype(&MPI_Query_thread)>);
  static_assert(same<decltype(Ours::finalize), decltype(&MPI_Finalize)>);
  static_assert(same<decltype(Ours::get_library_version), decltype(&MPI_Get_library_version)>);
  static_assert(same<decltype(Ours::error_string), decltype(&MPI_Error_string)>);
  static_assert(same<decltype(Ours::comm_dup), decltype(&MPI_Comm_dup)>);
  static_assert(same<decltype(Ours::comm_free), decltype(&MPI_Comm_free)>);
  static_assert(same<decltype(Ours::comm_rank), decltype(&MPI_Comm_rank)>);
  static_assert(same<decltype(Ours::comm_size), decltype(&MPI_Comm_size)>);
  static_assert(same<decltype(Ours::comm_set_errhandler), decltype(&MPI_Comm_set_errhandler)>);
  static_assert(same<decltype(Ours::comm_split_type), decltype(&MPI_Comm_split_type)>);
  static_assert(same<decltype(Ours::isend), decltype(&MPI_Isend)>);
  static_assert(same<decltype(Ours::irecv), decltype(&MPI_Irecv)>);
  static_assert(same<decltype(Ours::ibarrier), decltype(&MPI_Ibarrier)>);
  static_assert(same<decltype(Ours::test), decltype(&MPI_Test)>);
  static_assert(same<decltype(Ours::cancel), decltype(&MPI_Cancel)>);
  static_assert(same<decltype(Ours::get_count), decltype(&MPI_Get_count)>);
  static_assert(same<decltype(Ours::iprobe), decltype(&MPI_Iprobe)>);
  static_assert(same<decltype(Ours::improbe), decltype(&MPI_Improbe)>);
  static_assert(same<decltype(Ours::imrecv), decltype(&MPI_Imrecv)>);

  static_assert(F::kStatusSize == sizeof(MPI_Status));
  static_assert(F::kAnySource == MPI_ANY_SOURCE);
  static_assert(F::kAnyTag == MPI_ANY_TAG);
  static_assert(F::kTypeShared == MPI_COMM_TYPE_SHARED);
  static_assert(F::kFunneled == MPI_THREAD_FUNNELED);
  static_assert(F::kMultiple == MPI_THREAD_MULTIPLE);
  static_assert(F::kLongestVersion >= MPI_MAX_LIBRARY_VERSION_STRING);
  static_assert(F::kLongestError >= MPI_MAX_ERROR_STRING);
  static_assert(MPI_SUCCESS == 0);
};

}  // namespace infonce::mpi

// The binary interfaces of MPI libraries: types of handles, constants, and the functions that are called. Written here
// because no mpi.h is there when this is compiled. native/test/mpi compares them with the mpi.h of each family.
#pragma once

#include <cstddef>

// Named as in mpi.h, so that types of functions can be compared.
struct ompi_communicator_t;
struct ompi_datatype_t;
struct ompi_errhandler_t;
struct ompi_info_t;
struct ompi_message_t;
struct ompi_request_t;
struct ompi_status_public_t;
struct MPI_ABI_Comm;
struct MPI_ABI_Datatype;
struct MPI_ABI_Errhandler;
struct MPI_ABI_Info;
struct MPI_ABI_Message;
struct MPI_ABI_Request;
struct MPI_Status;

namespace infonce::mpi {

// Open MPI 3 to 5: handles are addresses of the library's variables.
struct OpenMpi {
  using Comm = ompi_communicator_t *;
  using Datatype = ompi_datatype_t *;
  using Errhandler = ompi_errhandler_t *;
  using Info = ompi_info_t *;
  using Message = ompi_message_t *;
  using Request = ompi_request_t *;
  using Status = ompi_status_public_t;
  static constexpr size_t kStatusSize = 24;
  static constexpr int kAnySource = -1;
  static constexpr int kAnyTag = -1;
  static constexpr int kTypeShared = 0;
  static constexpr int kFunneled = 1;
  static constexpr int kMultiple = 3;
  static constexpr size_t kLongestVersion = 256;
  static constexpr size_t kLongestError = 256;
};

// MPICH 3.1 and later, Intel MPI, Cray MPICH, MVAPICH: handles are numbers.
struct Mpich {
  using Comm = int;
  using Datatype = int;
  using Errhandler = int;
  using Info = int;
  using Message = int;
  using Request = int;
  using Status = MPI_Status;
  static constexpr Comm kWorld = 0x44000000;
  static constexpr Datatype kByte = 0x4c00010d;
  static constexpr Errhandler kErrorsReturn = 0x54000001;
  static constexpr Info kNoInfo = 0x1c000000;
  static constexpr size_t kStatusSize = 20;
  static constexpr int kAnySource = -2;
  static constexpr int kAnyTag = -1;
  static constexpr int kTypeShared = 1;
  static constexpr int kFunneled = 1;
  static constexpr int kMultiple = 3;
  static constexpr size_t kLongestVersion = 8192;
  static constexpr size_t kLongestError = 512;
};

// The binary interface of the MPI standard, version 5.0, chapter 20: handles are numbers in the guise of pointers.
struct StandardAbi {
  using Comm = MPI_ABI_Comm *;
  using Datatype = MPI_ABI_Datatype *;
  using Errhandler = MPI_ABI_Errhandler *;
  using Info = MPI_ABI_Info *;
  using Message = MPI_ABI_Message *;
  using Request = MPI_ABI_Request *;
  using Status = MPI_Status;
  static constexpr size_t kWorld = 0x101;
  static constexpr size_t kByte = 0x247;
  static constexpr size_t kErrorsReturn = 0x143;
  static constexpr size_t kNoInfo = 0x130;
  static constexpr size_t kStatusSize = 32;
  static constexpr int kAnySource = -1;
  static constexpr int kAnyTag = -2;
  static constexpr int kTypeShared = 221;
  static constexpr int kFunneled = 1024;
  static constexpr int kMultiple = 4096;
  static constexpr size_t kLongestVersion = 8192;
  static constexpr size_t kLongestError = 512;
};

// What is called of a library, all of it in MPI 3.0.
template <typename F> struct Functions {
  int (*initialized)(int *flag);
  int (*finalized)(int *flag);
  int (*init_thread)(int *argc, char ***argv, int required, int *provided);
  int (*query_thread)(int *provided);
  int (*finalize)();
  int (*get_library_version)(char *version, int *length);
  int (*error_string)(int code, char *text, int *length);
  int (*comm_dup)(typename F::Comm comm, typename F::Comm *copy);
  int (*comm_free)(typename F::Comm *comm);
  int (*comm_rank)(typename F::Comm comm, int *rank);
  int (*comm_size)(typename F::Comm comm, int *size);
  int (*comm_set_errhandler)(typename F::Comm comm, typename F::Errhandler handler);
  int (*comm_split_type)(typename F::Comm comm, int type, int key, typename F::Info info, typename F::Comm *part);
  int (*isend)(const void *bytes, int count, typename F::Datatype type, int to, int tag, typename F::Comm comm,
               typename F::Request *request);
  int (*irecv)(void *bytes, int count, typename F::Datatype type, int from, int tag, typename F::Comm comm,
               typename F::Request *request);
  int (*ibarrier)(typename F::Comm comm, typename F::Request *request);
  int (*test)(typename F::Request *request, int *flag, typename F::Status *status);
  int (*cancel)(typename F::Request *request);
  int (*get_count)(const typename F::Status *status, typename F::Datatype type, int *count);
  int (*iprobe)(int from, int tag, typename F::Comm comm, int *flag, typename F::Status *status);
  int (*improbe)(int from, int tag, typename F::Comm comm, int *flag, typename F::Message *message,
                 typename F::Status *status);
  int (*imrecv)(void *bytes, int count, typename F::Datatype type, typename F::Message *message,
                typename F::Request *request);

  // Calls `visit(name, function)` for each.
  template <typename Visit> void for_each(Visit visit) {
    visit("MPI_Initialized", initialized);
    visit("MPI_Finalized", finalized);
    visit("MPI_Init_thread", init_thread);
    visit("MPI_Query_thread", query_thread);
    visit("MPI_Finalize", finalize);
    visit("MPI_Get_library_version", get_library_version);
    visit("MPI_Error_string", error_string);
    visit("MPI_Comm_dup", comm_dup);
    visit("MPI_Comm_free", comm_free);
    visit("MPI_Comm_rank", comm_rank);
    visit("MPI_Comm_size", comm_size);
    visit("MPI_Comm_set_errhandler", comm_set_errhandler);
    visit("MPI_Comm_split_type", comm_split_type);
    visit("MPI_Isend", isend);
    visit("MPI_Irecv", irecv);
    visit("MPI_Ibarrier", ibarrier);
    visit("MPI_Test", test);
    visit("MPI_Cancel", cancel);
    visit("MPI_Get_count", get_count);
    visit("MPI_Iprobe", iprobe);
    visit("MPI_Improbe", improbe);
    visit("MPI_Imrecv", imrecv);
  }
};

}  // namespace infonce::mpi

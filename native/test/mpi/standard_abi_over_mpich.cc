// A library of the binary interface of MPI 5, on top of MPICH: what StandardAbi says is tried with it, as no such library is
// in Debian. Its numbers are those of the standard, written here anew.
#include <dlfcn.h>

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "mpi/families.h"

namespace {

using infonce::mpi::Functions;
using infonce::mpi::Mpich;

using Comm = MPI_ABI_Comm *;
using Datatype = MPI_ABI_Datatype *;
using Errhandler = MPI_ABI_Errhandler *;
using Info = MPI_ABI_Info *;
using Message = MPI_ABI_Message *;
using Request = MPI_ABI_Request *;

const Functions<Mpich> &mpich() {
  static const Functions<Mpich> all = [] {
    Functions<Mpich> functions{};
    void *library = dlopen("libmpich.so.12", RTLD_NOW | RTLD_LOCAL);
    functions.for_each([&](const char *name, auto &function) {
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
    });
    return functions;
  }();
  return all;
}

// Handles that the program has got are MPICH's numbers.
template <typename Handle> int number_of(Handle handle) {
  return static_cast<int>(reinterpret_cast<uintptr_t>(handle));
}

template <typename Handle> Handle handle_of(int number) {
  return reinterpret_cast<Handle>(static_cast<uintptr_t>(static_cast<unsigned>(number)));
}

// Those that it has from the start; any other is an error.
template <typename Handle> int constant(Handle handle, uintptr_t expected, int theirs) {
  return reinterpret_cast<uintptr_t>(handle) == expected ? theirs : -1;
}

int comm(Comm handle) { return reinterpret_cast<uintptr_t>(handle) == 0x101 ? 0x44000000 : number_of(handle); }
int byte(Datatype handle) { return constant(handle, 0x247, 0x4c00010d); }
int source(int rank) { return rank == -1 ? -2 : rank; }
int tag(int number) { return number == -2 ? -1 : number; }

int level(int theirs) { return theirs == 0 ? 0 : 512 << theirs; }

int mpich_level(int ours) {
  for (int theirs = 0; theirs < 4; theirs++) {
    if (level(theirs) == ours) {
      return theirs;
    }
  }
  return -1;
}

// Theirs: 20 bytes. Ours: 32, the last 20 of them free for the library.
struct Status {
  int32_t theirs[5];
};

MPI_Status *in(Status &status) { return reinterpret_cast<MPI_Status *>(&status); }

void give(const Status &from, MPI_Status *to) { std::memcpy(reinterpret_cast<char *>(to) + 12, &from, sizeof(from)); }

template <typename Handle, typename Call> int making(Handle *made, Call call) {
  int number = 0;
  const int code = call(&number);
  *made = handle_of<Handle>(number);
  return code;
}

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default"))) int

EXPORT MPI_Abi_get_version(int *major, int *minor) {
  *major = 1;
  *minor = 0;
  return 0;
}

EXPORT MPI_Initialized(int *flag) { return mpich().initialized(flag); }
EXPORT MPI_Finalized(int *flag) { return mpich().finalized(flag); }

EXPORT MPI_Init_thread(int *argc, char ***argv, int required, int *provided) {
  int theirs = 0;
  const int code = mpich().init_thread(argc, argv, mpich_level(required), &theirs);
  *provided = level(theirs);
  return code;
}

EXPORT MPI_Query_thread(int *provided) {
  int theirs = 0;
  const int code = mpich().query_thread(&theirs);
  *provided = level(theirs);
  return code;
}

EXPORT MPI_Finalize() { return mpich().finalize(); }
EXPORT MPI_Get_library_version(char *version, int *length) { return mpich().get_library_version(version, length); }
EXPORT MPI_Error_string(int code, char *text, int *length) { return mpich().error_string(code, text, length); }

EXPORT MPI_Comm_dup(Comm from, Comm *copy) {
  return making(copy, [&](int *made) { return mpich().comm_dup(comm(from), made); });
}

EXPORT MPI_Comm_free(Comm *freed) {
  int number = comm(*freed);
  return mpich().comm_free(&number);
}

EXPORT MPI_Comm_rank(Comm of, int *rank) { return mpich().comm_rank(comm(of), rank); }
EXPORT MPI_Comm_size(Comm of, int *size) { return mpich().comm_size(comm(of), size); }

EXPORT MPI_Comm_set_errhandler(Comm of, Errhandler handler) {
  return mpich().comm_set_errhandler(comm(of), constant(handler, 0x143, 0x54000001));
}

EXPORT MPI_Comm_split_type(Comm of, int type, int key, Info info, Comm *part) {
  return making(part, [&](int *made) {
    return mpich().comm_split_type(comm(of), type == 221 ? 1 : -1, key, constant(info, 0x130, 0x1c000000), made);
  });
}

EXPORT MPI_Isend(const void *bytes, int count, Datatype type, int to, int channel, Comm of, Request *request) {
  return making(request,
                [&](int *made) { return mpich().isend(bytes, count, byte(type), to, channel, comm(of), made); });
}

EXPORT MPI_Irecv(void *bytes, int count, Datatype type, int from, int channel, Comm of, Request *request) {
  return making(request, [&](int *made) {
    return mpich().irecv(bytes, count, byte(type), source(from), tag(channel), comm(of), made);
  });
}

EXPORT MPI_Ibarrier(Comm of, Request *request) {
  return making(request, [&](int *made) { return mpich().ibarrier(comm(of), made); });
}

EXPORT MPI_Test(Request *request, int *flag, MPI_Status *status) {
  Status theirs{};
  int number = number_of(*request);
  const int code = mpich().test(&number, flag, in(theirs));
  *request = handle_of<Request>(number);
  give(theirs, status);
  return code;
}

EXPORT MPI_Cancel(Request *request) {
  int number = number_of(*request);
  return mpich().cancel(&number);
}

EXPORT MPI_Get_count(const MPI_Status *status, Datatype type, int *count) {
  Status theirs;
  std::memcpy(&theirs, reinterpret_cast<const char *>(status) + 12, sizeof(theirs));
  return mpich().get_count(in(theirs), byte(type), count);
}

EXPORT MPI_Iprobe(int from, int channel, Comm of, int *flag, MPI_Status *status) {
  Status theirs{};
  const int code = mpich().iprobe(source(from), tag(channel), comm(of), flag, in(theirs));
  give(theirs, status);
  return code;
}

EXPORT MPI_Improbe(int from, int channel, Comm of, int *flag, Message *message, MPI_Status *status) {
  Status theirs{};
  const int code = making(message, [&](int *made) {
    return mpich().improbe(source(from), tag(channel), comm(of), flag, made, in(theirs));
  });
  give(theirs, status);
  return code;
}

EXPORT MPI_Imrecv(void *bytes, int count, Datatype type, Message *message, Request *request) {
  int number = number_of(*message);
  return making(request, [&](int *made) { return mpich().imrecv(bytes, count, byte(type), &number, made); });
}

// The MPI calls of a transport, for every family of libraries. MPI serves one thread: an object is used from one
// thread, except where a comment says so.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

namespace infonce::mpi {

struct Place {
  int rank, size;
  int local_rank, local_size;  // among those of this host
};

class Calls {
 public:
  virtual ~Calls() = default;

  // From any thread, and before MPI is started.
  virtual std::string version() = 0;  // as the library words it, on several lines perhaps
  virtual bool initialized() = 0;
  virtual bool finalized() = 0;
  // Whether any thread may call MPI, once it is started.
  virtual bool any_thread() = 0;

  // Starts MPI for calls from this thread; false: the library does not allow other threads beside it.
  virtual bool init() = 0;
  virtual void finalize() = 0;
  // A communicator of all ranks, for this object alone. `own`: errors that concern all of MPI may be returned, too.
  virtual Place join(bool own) = 0;
  virtual void part() = 0;

  // Messages under way have numbers. Throw group::Lost, also what follows.
  virtual int send(int to, int tag, const void *bytes, size_t count) = 0;
  virtual int receive(int from, int tag, void *bytes, size_t count) = 0;
  virtual int barrier() = 0;
  // Whether it has ended, which ends its number too. `received`: the bytes that came.
  virtual bool has_ended(int number, size_t &received) = 0;
  virtual void cancel(int number) = 0;
  // Whether there is a message that no receive waits for, of `count` bytes; `take` is to receive it.
  virtual bool find(size_t &count) = 0;
  virtual int take(void *bytes, size_t count) = 0;
  // Lets the library move on what it has to do for others.
  virtual void poll() = 0;
};

}  // namespace infonce::mpi

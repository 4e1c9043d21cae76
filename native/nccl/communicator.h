// A communicator of NCCL that never blocks: what is asked of it goes on until `is_ready`.
#pragma once

#include <cstddef>
#include <string>

#include "nccl/functions.h"
#include "nccl/libraries.h"

namespace infonce::nccl {

// Of one thread. Throws group::Lost.
class Communicator {
 public:
  Communicator(const NcclLibrary &library, const UniqueId &id, int rank, int size);
  ~Communicator() { abort(); }
  Communicator(const Communicator &) = delete;
  Communicator &operator=(const Communicator &) = delete;

  // Throws what has happened to it meanwhile, too.
  bool is_ready();

  // Sends and receives of one group, which are told apart by peer and order alone.
  void begin_group();
  void send(const void *bytes, size_t count, int to, CUstream_st *stream);
  void receive(void *bytes, size_t count, int from, CUstream_st *stream);
  // When it is ready afterwards, all of it is queued in the stream, and no sooner.
  void end_group();

  // Ready when all ranks have what was sent to them.
  void finalize();
  void destroy();
  // What is under way ends, too. Unless it has ended.
  void abort() noexcept;

 private:
  void check(int result, const char *call);

  const Nccl nccl_;
  ncclComm *comm_ = nullptr;
};

}  // namespace infonce::nccl

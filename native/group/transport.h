// How the ranks of a process group exchange bytes. Calls over ranks (native/group) know nothing else of MPI, NCCL or the
// threads of one process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>

#include "infonce/infonce.h"

namespace infonce::group {

// The group cannot be used any more: a rank has gone, or the library says so. The message says what happened.
class Lost : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Messages between two ranks on one channel arrive in the order in which they were posted, and none is longer than what
// its receiver has room for.
enum class Channel : int {
  kControl = 0,   // what ranks agree on, and that a rank has left
  kForward = 1,   // rows that go round, and what is added to them
  kBackward = 2,  // gradients that go round
  kCollective = 3
};

// Whose device's memory a message lies in, and after which point of the context (`mark`): a cudaEvent_t, which stays as it is
// until the message has ended.
struct DeviceSide {
  const infonce_backend *backend = nullptr;
  infonce_context *context = nullptr;
  void *ready = nullptr;
};

// A message on its way. Not destroyed before it has ended, or the transport was abandoned.
class Exchange {
 public:
  virtual ~Exchange() = default;
  // Whether it has ended; asks without waiting. Throws Lost. What is sent to a rank that has left just ends.
  virtual bool has_ended() = 0;
};

// Where a rank stands among the others. Used from one thread at a time; it moves bytes on by itself, also while nobody
// asks.
class Transport {
 public:
  virtual ~Transport() = default;  // after `leave`, or abandons what is under way

  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual int local_rank() const = 0;  // among those of this host
  virtual int local_size() const = 0;
  virtual std::string library() const = 0;  // "Open MPI 4.1.4", "threads of one process"

  // Bytes stay where they are until the exchange has ended. A rank sends nothing to itself.
  virtual std::unique_ptr<Exchange> send(int to, Channel channel, const void *bytes, size_t count) = 0;
  virtual std::unique_ptr<Exchange> receive(int from, Channel channel, void *bytes, size_t count) = 0;

  // Whether messages may lie in the memory of this CUDA device, between which and the other rank nothing else is then.
  virtual bool takes_memory_of(int) const { return false; }
  // Messages that do. The other end may lie elsewhere.
  virtual std::unique_ptr<Exchange> send_from_device(int, Channel, const void *, size_t, const DeviceSide &) {
    throw std::logic_error(kTakesNone);
  }
  virtual std::unique_ptr<Exchange> receive_on_device(int, Channel, void *, size_t, const DeviceSide &) {
    throw std::logic_error(kTakesNone);
  }

  // What was posted since the last time goes on its way, together. Ranks come to it at the same places of their work, where
  // each message has both its ends; before that it may not move.
  virtual void dispatch() {}

  // From any thread: nobody waits for this rank any more where nothing but the transport tells the others so.
  virtual void abandon() noexcept {}

  // Ends the membership: what was sent still arrives, nothing is received any more. Waits for the others at most so long.
  virtual void leave(double seconds) = 0;

 private:
  static constexpr char kTakesNone[] = "this transport takes no memory of a device";
};

}  // namespace infonce::group

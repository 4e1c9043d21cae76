// Messages on their way through the GPU, in rounds: a piece of each message of a group, exchanged by one group of NCCL's
// calls. What is on the host is copied to the device before and back afterwards; what is on the device already stays where it
// is. Both ends of a message cut it alike, wherever it is, so that counts match.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <deque>
#include <memory>
#include <vector>

#include "group/transport.h"
#include "nccl/communicator.h"
#include "nccl/device.h"

namespace infonce::nccl {

// A message, whole.
struct Message {
  bool sent = false;
  int other = 0;  // its receiver or sender
  group::Channel channel = group::Channel::kControl;
  char *bytes = nullptr;
  size_t count = 0;
  bool on_device = false;
  CUevent_st *ready = nullptr;       // on the device: what it comes after; null: nothing
  std::unique_ptr<char[]> unwanted;  // holds the bytes of what is received for nobody

  // Of the thread alone: bytes that were given to NCCL, and those that are there.
  size_t begun = 0, done = 0;

  std::atomic<bool> ended{false};
};

// Of one thread. What throws group::Lost ends it.
class Rounds {
 public:
  using Clock = std::chrono::steady_clock;

  Rounds(const Device &device, Communicator &communicator, int size);

  // Messages that go together, after those before.
  void add(std::vector<std::shared_ptr<Message>> group) { groups_.push_back(std::move(group)); }
  // Moves on what can be, without waiting. Whether anything moved.
  bool step();
  bool is_idle() const { return groups_.empty() && !filled_ && !launched_ && under_way_.empty(); }
  // A rank for which the oldest round waits since before then; -1: there is none.
  int missed(Clock::time_point since) const;

 private:
  struct Part {
    std::shared_ptr<Message> message;
    size_t at, offset, count;  // in the staging memory of what is on the host, in the message, bytes
  };
  struct Round {
    explicit Round(const Device &device) : staging(device) {}
    Staging staging;
    std::vector<Part> parts;
    size_t sent = 0, all = 0;  // bytes of what is on the host; what is sent comes first
    Clock::time_point begun;
  };

  size_t piece(group::Channel channel) const;
  void fill(Round &round);
  void launch(Round &round);
  void settle(Round &round);
  void complete(Round &round);

  const Device &device_;
  Communicator &communicator_;
  const size_t all_to_all_piece_;
  std::deque<std::vector<std::shared_ptr<Message>>> groups_;
  std::vector<std::unique_ptr<Round>> rounds_;
  std::vector<Round *> free_;
  Round *filled_ = nullptr;        // to be launched
  Round *launched_ = nullptr;      // of which NCCL has not said yet that it is in the stream
  std::deque<Round *> under_way_;  // in the order of the stream
};

}  // namespace infonce::nccl

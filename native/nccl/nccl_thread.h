// The thread on which all of NCCL and of the GPU is used: it joins the others, takes what is to be sent and received, and
// moves it on until it has ended, also while nobody asks.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "group/event.h"
#include "nccl/libraries.h"
#include "nccl/nccl_transport.h"
#include "nccl/rounds.h"

namespace infonce::nccl {

class NcclThread : public std::enable_shared_from_this<NcclThread> {
 public:
  // Returns when all ranks have come. Throws CannotStart.
  static std::shared_ptr<NcclThread> start(const NcclOptions &options);

  int local_rank() const { return local_rank_; }
  int local_size() const { return local_size_; }
  const std::string &library() const { return library_.name; }

  // These are for any thread. Messages that go together. Throws group::Lost, as the next does.
  void post(std::vector<std::shared_ptr<Message>> group);
  bool has_ended(const Message &message);

  // When what was posted before has ended, and these messages, which are met by the last ones of the others. Waits for it
  // at most so long.
  void leave(std::vector<std::shared_ptr<Message>> last, double seconds);
  // Nothing moves any more. Waits for that at most so long.
  void abandon(double seconds);

 private:
  explicit NcclThread(const NcclOptions &options);

  void run();
  void fail(const std::string &failure);
  void use(const Device &device);
  void meet(Communicator &communicator, Rounds &rounds);
  void work(Communicator &communicator, Rounds &rounds);
  void check_patience(const Rounds &rounds) const;
  void finish(Communicator &communicator, int64_t deadline);
  void pause(int64_t nanoseconds) const;
  void lose(const std::string &reason);
  void lose_once(const std::string &reason);

  const NcclOptions options_;
  const NcclLibrary library_;
  int local_rank_ = 0, local_size_ = 1;  // before it has begun; then they stay
  std::string failure_;                  // of the start; empty: there is none
  group::Event begun_, stopped_, posted_;

  std::mutex mutex_;
  std::vector<std::vector<std::shared_ptr<Message>>> posts_;
  std::string lost_;       // why nothing can be posted any more, nor ends; empty: it can
  int64_t deadline_ = -1;  // for leaving; -1: not asked for
  std::atomic<bool> is_lost_{false};
  std::atomic<bool> stop_{false};
};

}  // namespace infonce::nccl

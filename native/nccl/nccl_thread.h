// The thread on which all of NCCL and of the GPU is used: it joins the others, takes what is to be sent and received, and
// moves it on until it has ended, also while nobody asks.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "group/library_thread.h"
#include "nccl/libraries.h"
#include "nccl/nccl_transport.h"
#include "nccl/rounds.h"

namespace infonce::nccl {

class NcclThread final : public group::ThreadOf<Message> {
 public:
  // Returns when all ranks have come. Throws CannotStart.
  static std::shared_ptr<NcclThread> start(const NcclOptions &options);

  int local_rank() const { return local_rank_; }
  int local_size() const { return local_size_; }
  int device() const { return device_; }
  const std::string &library() const { return library_.name; }

  // When what was posted before has ended, and these messages, which are met by the last ones of the others. Waits for it
  // at most so long.
  void leave(Messages last, double seconds);

 private:
  explicit NcclThread(const NcclOptions &options);

  void run() override;
  void end_with_process(int status) override;
  void fail(const std::string &failure);
  void use(const Device &device);
  void meet(Communicator &communicator, Rounds &rounds);
  void work(Communicator &communicator, Rounds &rounds);
  void check_patience(const Rounds &rounds) const;
  void finish(Communicator &communicator);
  void pause(int64_t nanoseconds) const;

  const NcclOptions options_;
  const NcclLibrary library_;
  int local_rank_ = 0, local_size_ = 1, device_ = 0;  // before it has begun; then they stay
  std::string failure_;                               // of the start; empty: there is none
};

}  // namespace infonce::nccl

#include "nccl/nccl_transport.h"

#include <utility>
#include <vector>

#include "nccl/cannot_start.h"
#include "nccl/libraries.h"

#ifdef __linux__
#include "nccl/nccl_thread.h"
#endif

namespace infonce::nccl {

#ifdef __linux__

namespace {

class NcclTransport final : public group::Transport {
 public:
  NcclTransport(std::shared_ptr<NcclThread> thread, int rank, int size)
      : thread_(std::move(thread)), rank_(rank), size_(size) {}

  ~NcclTransport() override {
    if (!left_) thread_->abandon(group::kForAbandoning);
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  int local_rank() const override { return thread_->local_rank(); }
  int local_size() const override { return thread_->local_size(); }
  std::string library() const override { return thread_->library(); }

  std::unique_ptr<group::Exchange> send(int to, group::Channel channel, const void *bytes, size_t count) override {
    return post(true, to, channel, static_cast<char *>(const_cast<void *>(bytes)), count);  // which is read alone
  }

  std::unique_ptr<group::Exchange> receive(int from, group::Channel channel, void *bytes, size_t count) override {
    return post(false, from, channel, static_cast<char *>(bytes), count);
  }

  // The driver's events and addresses are the runtime's, in its context of the device.
  bool takes_memory_of(int device) const override { return device == thread_->device(); }

  std::unique_ptr<group::Exchange> send_from_device(int to, group::Channel channel, const void *bytes, size_t count,
                                                    const group::DeviceSide &side) override {
    auto *const sent = static_cast<char *>(const_cast<void *>(bytes));
    return post(true, to, channel, sent, count, true, static_cast<CUevent_st *>(side.ready));
  }

  std::unique_ptr<group::Exchange> receive_on_device(int from, group::Channel channel, void *bytes, size_t count,
                                                     const group::DeviceSide &side) override {
    return post(false, from, channel, static_cast<char *>(bytes), count, true, static_cast<CUevent_st *>(side.ready));
  }

  void dispatch() override {
    if (!pending_.empty()) thread_->post(std::exchange(pending_, {}));
  }

  void abandon() noexcept override { thread_->abandon(0); }

  // What is sent last is met by the others' next message of this kind, which they go on to only when all is exchanged.
  void leave(double seconds) override {
    if (left_) return;
    left_ = true;
    std::vector<std::shared_ptr<Message>> last = std::exchange(pending_, {});
    for (size_t i = 0, count = last.size(); i < count; ++i) {
      const Message &sent = *last[i];
      auto theirs = std::make_shared<Message>();
      theirs->other = sent.other;
      theirs->channel = sent.channel;
      theirs->count = sent.count;
      theirs->unwanted = std::make_unique<char[]>(sent.count);
      theirs->bytes = theirs->unwanted.get();
      last.push_back(std::move(theirs));
    }
    thread_->leave(std::move(last), seconds);
  }

 private:
  std::unique_ptr<group::Exchange> post(bool sent, int other, group::Channel channel, char *bytes, size_t count,
                                        bool on_device = false, CUevent_st *ready = nullptr) {
    auto message = std::make_shared<Message>();
    message->sent = sent;
    message->other = other;
    message->channel = channel;
    message->bytes = bytes;
    message->count = count;
    message->on_device = on_device;
    message->ready = ready;
    message->ended = count == 0;
    if (count > 0) pending_.push_back(message);
    return std::make_unique<group::ExchangeOf<NcclThread, Message>>(thread_, std::move(message));
  }

  std::shared_ptr<NcclThread> thread_;
  const int rank_, size_;
  std::vector<std::shared_ptr<Message>> pending_;
  bool left_ = false;
};

}  // namespace

std::unique_ptr<group::Transport> open_nccl(const NcclOptions &options) {
  return std::make_unique<NcclTransport>(NcclThread::start(options), options.rank, options.size);
}

#else

std::unique_ptr<group::Transport> open_nccl(const NcclOptions &options) {
  open_nccl_library(options.library);
  return nullptr;
}

#endif

UniqueId new_unique_id(const std::string &library) {
  const NcclLibrary nccl = open_nccl_library(library);
  UniqueId id{};
  const int result = nccl.functions.get_unique_id(&id);
  if (result != kSuccess)
    throw CannotStart(nccl.name + " makes no id: " + nccl.functions.get_error_string(result) +
                      ". NCCL_SOCKET_IFNAME names the network interface that ranks reach each other by, and "
                      "NCCL_DEBUG=INFO says more");
  return id;
}

}  // namespace infonce::nccl

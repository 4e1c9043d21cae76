// A rank's transport, with troubles: messages that start late, a link that is cut, a library that fails. Counts what is sent.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "group/forwarding_transport.h"
#include "test/group.h"

namespace infonce::test {

struct Troubles {
  static constexpr int kNever = std::numeric_limits<int>::max();

  int most_late = 0;              // how often a message is asked for, at most, before it starts
  int until_cut = kNever;         // messages that this rank sends before none arrives any more,
  int until_failure = kNever;     // or the library reports an error
  std::array<int64_t, 4> sent{};  // bytes, by channel
};

class TroubledTransport final : public group::ForwardingTransport {
 public:
  TroubledTransport(std::unique_ptr<group::Transport> transport, Troubles &troubles)
      : ForwardingTransport(std::move(transport)), troubles_(troubles), random_(uint32_t(transport_->rank())) {}

  std::unique_ptr<group::Exchange> send(int to, group::Channel channel, const void *bytes, size_t count) override {
    const int number = messages_++;
    if (number >= troubles_.until_failure) throw group::Lost("the library failed");
    if (number >= troubles_.until_cut) return std::make_unique<Nowhere>();
    troubles_.sent[size_t(channel)] += int64_t(count);
    auto &queue = queues_[{to, channel}];
    const int late = std::uniform_int_distribution<int>(0, troubles_.most_late)(random_);
    const auto message =
        std::make_shared<Message>(Message{late, [=] { return transport_->send(to, channel, bytes, count); }, nullptr});
    queue.push_back(message);
    move_on(queue);
    return std::make_unique<Late>(message, queue);
  }

  void leave(double seconds) override {
    for (auto &[address, queue] : queues_)
      while (!queue.empty()) move_on(queue);
    transport_->leave(seconds);
  }

 private:
  struct Message {
    int late;
    std::function<std::unique_ptr<group::Exchange>()> start;
    std::unique_ptr<group::Exchange> started;
  };
  using Queue = std::deque<std::shared_ptr<Message>>;  // to one rank, in order

  static void move_on(Queue &queue) {
    if (!queue.empty() && queue.front()->late > 0) --queue.front()->late;
    while (!queue.empty() && queue.front()->late == 0) {
      queue.front()->started = queue.front()->start();
      queue.pop_front();
    }
  }

  class Late final : public group::Exchange {
   public:
    Late(std::shared_ptr<Message> message, Queue &queue) : message_(std::move(message)), queue_(queue) {}

    bool has_ended() override {
      if (!message_->started) move_on(queue_);
      return message_->started && message_->started->has_ended();
    }

   private:
    std::shared_ptr<Message> message_;
    Queue &queue_;
  };

  // Its sender does not notice.
  class Nowhere final : public group::Exchange {
   public:
    bool has_ended() override { return true; }
  };

  Troubles &troubles_;
  std::mt19937 random_;
  int messages_ = 0;
  std::map<std::pair<int, group::Channel>, Queue> queues_;
};

// Of each rank its own.
inline Wrap with(std::vector<Troubles> &troubles) {
  return [&](std::unique_ptr<group::Transport> transport) -> std::unique_ptr<group::Transport> {
    Troubles &own = troubles[size_t(transport->rank())];
    return std::make_unique<TroubledTransport>(std::move(transport), own);
  };
}

}  // namespace infonce::test

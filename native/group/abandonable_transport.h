// A transport whose exchanges end with Lost when the process ends, so that no thread waits for other ranks then.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <utility>

#include "group/forwarding_transport.h"

namespace infonce::group {

constexpr char kAbandoned[] = "this process ends";

class AbandonableTransport final : public ForwardingTransport {
 public:
  AbandonableTransport(std::unique_ptr<Transport> transport, const std::atomic<bool> &abandoned)
      : ForwardingTransport(std::move(transport)), abandoned_(abandoned) {}

  std::unique_ptr<Exchange> send(int to, Channel channel, const void *bytes, size_t count) override {
    return guarded(transport_->send(to, channel, bytes, count));
  }
  std::unique_ptr<Exchange> receive(int from, Channel channel, void *bytes, size_t count) override {
    return guarded(transport_->receive(from, channel, bytes, count));
  }

  std::unique_ptr<Exchange> send_from_device(int to, Channel channel, const void *bytes, size_t count,
                                             const DeviceSide &side) override {
    return guarded(transport_->send_from_device(to, channel, bytes, count, side));
  }
  std::unique_ptr<Exchange> receive_on_device(int from, Channel channel, void *bytes, size_t count,
                                              const DeviceSide &side) override {
    return guarded(transport_->receive_on_device(from, channel, bytes, count, side));
  }

  void leave(double seconds) override { transport_->leave(abandoned_ ? 0 : seconds); }

 private:
  class Guarded final : public Exchange {
   public:
    Guarded(std::unique_ptr<Exchange> exchange, const std::atomic<bool> &abandoned)
        : exchange_(std::move(exchange)), abandoned_(abandoned) {}

    bool has_ended() override {
      if (abandoned_) throw Lost(kAbandoned);
      return exchange_->has_ended();
    }

   private:
    std::unique_ptr<Exchange> exchange_;
    const std::atomic<bool> &abandoned_;
  };

  std::unique_ptr<Exchange> guarded(std::unique_ptr<Exchange> exchange) const {
    return std::make_unique<Guarded>(std::move(exchange), abandoned_);
  }

  const std::atomic<bool> &abandoned_;
};

}  // namespace infonce::group

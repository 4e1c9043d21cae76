// A transport that passes everything on to another: what stands between ranks and their transport overrides what it changes.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "group/transport.h"

namespace infonce::group {

class ForwardingTransport : public Transport {
 public:
  explicit ForwardingTransport(std::unique_ptr<Transport> transport) : transport_(std::move(transport)) {}

  int rank() const override { return transport_->rank(); }
  int size() const override { return transport_->size(); }
  int local_rank() const override { return transport_->local_rank(); }
  int local_size() const override { return transport_->local_size(); }
  std::string library() const override { return transport_->library(); }

  std::unique_ptr<Exchange> send(int to, Channel channel, const void *bytes, size_t count) override {
    return transport_->send(to, channel, bytes, count);
  }
  std::unique_ptr<Exchange> receive(int from, Channel channel, void *bytes, size_t count) override {
    return transport_->receive(from, channel, bytes, count);
  }

  bool takes_memory_of(int device) const override { return transport_->takes_memory_of(device); }
  std::unique_ptr<Exchange> send_from_device(int to, Channel channel, const void *bytes, size_t count,
                                             const DeviceSide &side) override {
    return transport_->send_from_device(to, channel, bytes, count, side);
  }
  std::unique_ptr<Exchange> receive_on_device(int from, Channel channel, void *bytes, size_t count,
                                              const DeviceSide &side) override {
    return transport_->receive_on_device(from, channel, bytes, count, side);
  }

  void dispatch() override { transport_->dispatch(); }
  void abandon() noexcept override { transport_->abandon(); }
  void leave(double seconds) override { transport_->leave(seconds); }

 protected:
  const std::unique_ptr<Transport> transport_;
};

}  // namespace infonce::group

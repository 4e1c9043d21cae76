// Losses of ranks whose contexts have the device that NCCL has: rows and gradients go from device to device.
#include <doctest/doctest.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "test/backend.h"
#include "test/context.h"
#include "test/engines.h"
#include "test/forms.h"
#include "test/group.h"

namespace infonce::test {

namespace {

using group::Channel;
using group::Exchange;

// A transport that takes memory of the device or leaves all on the host. Counts what is sent from the device.
class Watched final : public group::Transport {
 public:
  Watched(std::unique_ptr<Transport> transport, bool takes, std::atomic<int> &messages)
      : transport_(std::move(transport)), takes_(takes), messages_(messages) {}

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
  bool takes_memory_of(int device) const override { return takes_ && transport_->takes_memory_of(device); }
  std::unique_ptr<Exchange> send_from_device(int to, Channel channel, const void *bytes, size_t count,
                                             void *ready) override {
    ++messages_;
    return transport_->send_from_device(to, channel, bytes, count, ready);
  }
  std::unique_ptr<Exchange> receive_on_device(int from, Channel channel, void *bytes, size_t count,
                                              void *ready) override {
    return transport_->receive_on_device(from, channel, bytes, count, ready);
  }
  void dispatch() override { transport_->dispatch(); }
  void abandon() noexcept override { transport_->abandon(); }
  void leave(double seconds) override { transport_->leave(seconds); }

 private:
  std::unique_ptr<Transport> transport_;
  const bool takes_;
  std::atomic<int> &messages_;
};

bool shares_devices() { return !on_cpu() && std::getenv("INFONCE_TEST_CUDA_RUNTIME"); }

}  // namespace

TEST_CASE("rows that go from device to device give the bits of those that go by the host" *
          doctest::skip(!shares_devices())) {
  constexpr int kRanks = 3;
  Form form;
  form.positive = INFONCE_POSITIVE_SAME_INDEX;
  form.rows = form.keys = 7;
  form.dim = 5;
  form.in_batch = form.both_directions = true;
  form.further = {4};
  const Inputs whole = inputs_of(form);
  const ContextsOfRanks<kRanks> contexts(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 1);
  const std::vector<Share> shares = random_shares(whole, kRanks, 1);
  std::atomic<int> messages{0};
  const auto by = [&](bool device) {
    return [&messages, device](std::unique_ptr<group::Transport> transport) {
      return std::make_unique<Watched>(std::move(transport), device, messages);
    };
  };
  const Output by_host = run_on_ranks(contexts.all(), whole, shares, group::Gradients::kMean, false, by(false));
  CHECK(messages == 0);
  CHECK(identical(run_on_ranks(contexts.all(), whole, shares, group::Gradients::kMean, false, by(true)), by_host));
  // Of each rank: its rows by two hops in two passes, and the gradients of keys and further rows by one, and home.
  CHECK(messages == kRanks * (2 * 2 + 2 * 2));
}

}  // namespace infonce::test

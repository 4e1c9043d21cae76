// Losses of ranks whose contexts have the device that NCCL has: rows and gradients go from device to device.
#include <doctest/doctest.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "group/forwarding_transport.h"
#include "test/backend.h"
#include "test/context.h"
#include "test/engines.h"
#include "test/forms.h"
#include "test/group.h"

namespace infonce::test {

namespace {

using group::Channel;
using group::DeviceSide;
using group::Exchange;

// A transport that takes memory of the device or leaves all on the host. Counts what is sent from the device.
class Watched final : public group::ForwardingTransport {
 public:
  Watched(std::unique_ptr<Transport> transport, bool takes, std::atomic<int> &messages)
      : ForwardingTransport(std::move(transport)), takes_(takes), messages_(messages) {}

  bool takes_memory_of(int device) const override { return takes_ && transport_->takes_memory_of(device); }
  std::unique_ptr<Exchange> send_from_device(int to, Channel channel, const void *bytes, size_t count,
                                             const DeviceSide &side) override {
    ++messages_;
    return transport_->send_from_device(to, channel, bytes, count, side);
  }

 private:
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

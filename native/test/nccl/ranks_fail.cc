// What keeps ranks from a group over NCCL, and what ends one, is told, and nothing hangs.
#include <doctest/doctest.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "test/group.h"
#include "test/nccl/ranks.h"

namespace infonce::test {

namespace {

using group::Channel;
using group::Exchange;
using group::Transport;

bool contains(const std::string &text, const std::string &part) { return text.find(part) != std::string::npos; }

// What becomes of bytes from rank 0 to rank 1, as each of them has it.
std::string outcome_of_bytes(Transport &transport, size_t sent, size_t received) {
  char bytes[64] = {};
  const bool sends = transport.rank() == 0;
  const std::unique_ptr<Exchange> exchange = sends ? transport.send(1, Channel::kControl, bytes, sent)
                                                   : transport.receive(0, Channel::kControl, bytes, received);
  transport.dispatch();
  return outcome(*exchange);
}

}  // namespace

TEST_CASE("a library that is not there or does not serve is named, with the remedy") {
  nccl::NcclOptions options;
  {
    const Variable library("INFONCE_NCCL_LIBRARY", "/nowhere/libnccl.so.2");
    CHECK(contains(why_not(options), "the NCCL library asked for cannot be used: /nowhere/libnccl.so.2: cannot open"));
    CHECK(contains(why_not(options), "Name another in INFONCE_NCCL_LIBRARY"));
  }
  options.library = "libm.so.6";
  CHECK(contains(why_not(options), "libm.so.6: it has no function ncclGetVersion"));
  options.library = "";
  const Variable version("INFONCE_TEST_NCCL_VERSION", "2708");
  CHECK(contains(why_not(options), "it is NCCL 2.7.8, and 2.14.0 or newer is needed"));
}

TEST_CASE("a machine without a GPU, or without the one asked for, is told") {
  nccl::NcclOptions options;
  options.id = nccl::new_unique_id("");
  options.device = 8;
  CHECK(contains(why_not(options), "device cuda:8 was asked for, and this process sees 8"));
  options.device = -1;
  options.rank = 0;
  CHECK(why_not(options) == "");
  CHECK(live_objects() == 0);
}

TEST_CASE("ranks that do not come, or come twice, are told") {
  nccl::NcclOptions options = options_of(nccl::new_unique_id(""), 0, 2);
  options.patience = 0.1;
  CHECK(contains(why_not(options), "not all of the 2 ranks have come within 100 ms"));
  options = options_of(nccl::new_unique_id(""), 0, 2);
  options.patience = 0.5;
  std::string first, second;
  std::thread other([&] { first = why_not(options); });
  second = why_not(options);
  other.join();
  CHECK(contains(first + second, "NCCL 2.21.5 cannot start. NCCL: invalid usage (rank 0 is there twice)"));
  CHECK(contains(first + second, "Each rank needs a GPU of its own, here device 0 of 8"));
}

TEST_CASE("a message whose ends differ ends the group, and does not hang") {
  on_transports(2, [](Transport &transport) {
    const std::string told = outcome_of_bytes(transport, 5, 6);
    if (transport.rank() == 1) CHECK(contains(told, "rank 0 sends 5 of type 1, and 6 of type 1 are received"));
    else CHECK(contains(told, "remote process exited or there was a network error (rank 1 has gone)"));
  });
}

TEST_CASE("an error of a communicator ends the group on all ranks") {
  const Variable fault("INFONCE_TEST_NCCL_FAULT", "1:2");  // the first group is how ranks meet
  on_transports(2, [](Transport &transport) {
    const std::string told = outcome_of_bytes(transport, 6, 6);
    if (transport.rank() == 1) CHECK(contains(told, "network error (a cable was pulled)"));
    else CHECK(contains(told, "rank 1 has gone"));
    CHECK_THROWS_AS(outcome_of_bytes(transport, 6, 6), group::Lost);
    transport.leave(20);
  });
}

TEST_CASE("a rank that goes without a word is missed") {
  on_transports(3, [](Transport &transport) {
    if (transport.rank() == 2) return;
    char byte = 0;
    const std::unique_ptr<Exchange> exchange = transport.receive(2, Channel::kForward, &byte, 1);
    transport.dispatch();
    CHECK(contains(outcome(*exchange), "rank 2 has gone"));
  });
}

TEST_CASE("a message whose other end does not come ends the group in time, though nobody waits for it") {
  const nccl::UniqueId id = nccl::new_unique_id("");
  std::atomic<bool> has_ended{false};
  std::vector<std::thread> threads;
  for (const int rank : {0, 1})
    threads.emplace_back([&, rank] {
      nccl::NcclOptions options = options_of(id, rank, 2);
      if (rank == 0) options.patience = 1;  // also of the other to open it
      const std::unique_ptr<Transport> transport = open_nccl(options);
      if (rank == 1) return wait_for(has_ended);
      char byte = 0;
      const std::unique_ptr<Exchange> exchange = transport->receive(1, Channel::kForward, &byte, 1);
      transport->dispatch();
      std::this_thread::sleep_for(std::chrono::milliseconds(1200));
      CHECK(outcome(*exchange) == "rank 1 has not come for 1 s");
      has_ended = true;
    });
  for (std::thread &thread : threads) thread.join();
}

TEST_CASE("a group is abandoned while a message waits, and its end is bounded") {
  std::atomic<bool> has_ended{false};
  on_transports(2, [&](Transport &transport) {
    char byte = 0;
    if (transport.rank() == 1) {
      wait_for(has_ended);
      return transport.leave(0);
    }
    const std::unique_ptr<Exchange> exchange = transport.receive(1, Channel::kForward, &byte, 1);
    transport.dispatch();
    transport.abandon();
    CHECK(outcome(*exchange) == "the group was abandoned by this rank");
    has_ended = true;
    transport.leave(20);
  });
  CHECK(live_objects() == 0);
}

}  // namespace infonce::test

// Messages of ranks arrive whole and in order, in groups of sends and receives that match.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "nccl/libraries.h"
#include "test/nccl/ranks.h"

namespace infonce::test {

namespace {

using group::Channel;
using group::Exchange;
using group::Transport;
using Bytes = std::vector<unsigned char>;

// Bytes that differ from those of any other number.
Bytes numbered(size_t count, int number) {
  std::vector<uint32_t> words((count + 3) / 4);
  uint32_t state = uint32_t(number) * 2654435761u + 1;
  for (uint32_t &word : words) word = state = state * 1664525 + 1013904223;
  Bytes bytes(count);
  if (count > 0) std::memcpy(bytes.data(), words.data(), count);
  return bytes;
}

int right_of(const Transport &transport) { return (transport.rank() + 1) % transport.size(); }
int left_of(const Transport &transport) { return (transport.rank() + transport.size() - 1) % transport.size(); }

// Bytes on their way to the device in a stream, or room for as many.
class OnDevice {
 public:
  explicit OnDevice(const Bytes &bytes) : count_(bytes.size()), driver_(nccl::open_driver()) {
    REQUIRE(driver_.allocate(&memory_, count_ + 1) == 0);
    REQUIRE(driver_.host_allocate(&host_, count_ + 1, 0) == 0);
    REQUIRE(driver_.stream_create(&stream_, nccl::kNonBlockingStream) == 0);
    REQUIRE(driver_.event_create(&ready_, nccl::kEventWithoutTiming) == 0);
    std::copy(bytes.begin(), bytes.end(), static_cast<unsigned char *>(host_));
    CHECK(driver_.copy_to_device(memory_, host_, count_, stream_) == 0);
    CHECK(driver_.event_record(ready_, stream_) == 0);
  }
  ~OnDevice() {
    driver_.stream_destroy(stream_);
    driver_.event_destroy(ready_);
    driver_.host_free(host_);
    driver_.free(memory_);
  }
  OnDevice(const OnDevice &) = delete;
  OnDevice &operator=(const OnDevice &) = delete;

  std::unique_ptr<Exchange> send(Transport &transport, int to) const {
    return transport.send_from_device(to, Channel::kForward, address(), count_, {nullptr, nullptr, ready_});
  }
  std::unique_ptr<Exchange> receive(Transport &transport, int from) const {
    return transport.receive_on_device(from, Channel::kForward, address(), count_, {nullptr, nullptr, ready_});
  }
  Bytes content() const {
    CHECK(driver_.copy_to_host(host_, memory_, count_, stream_) == 0);
    CHECK(driver_.stream_synchronize(stream_) == 0);
    const auto *first = static_cast<const unsigned char *>(host_);
    return Bytes(first, first + count_);
  }

 private:
  void *address() const { return reinterpret_cast<void *>(memory_); }

  const size_t count_;
  const nccl::Driver driver_;
  nccl::DevicePointer memory_ = 0;
  void *host_ = nullptr;
  CUstream_st *stream_ = nullptr;
  CUevent_st *ready_ = nullptr;
};

constexpr size_t kMega = size_t{1} << 20;

}  // namespace

TEST_CASE("ranks know their place, and leave nothing behind") {
  on_transports(3, [](Transport &transport) {
    CHECK(transport.library() == "NCCL 2.21.5");
    CHECK((transport.local_rank() == transport.rank() && transport.local_size() == 3));
    transport.leave(20);
  });
  on_transports(1, [](Transport &transport) { CHECK(transport.local_size() == 1); });
  CHECK(live_objects() == 0);
}

TEST_CASE("messages of any length go round a ring, several at once") {
  for (const size_t count : {size_t{0}, size_t{1}, 4 * kMega, 4 * kMega + 1, 9 * kMega - 1})
    on_transports(3, [&](Transport &transport) {
      const Bytes rows = numbered(count, transport.rank()), more = numbered(1000, 10 + transport.rank());
      Bytes their_rows(count), their_more(1000);
      std::vector<std::unique_ptr<Exchange>> all;
      all.push_back(transport.send(right_of(transport), Channel::kForward, rows.data(), count));
      all.push_back(transport.receive(left_of(transport), Channel::kForward, their_rows.data(), count));
      all.push_back(transport.send(right_of(transport), Channel::kForward, more.data(), more.size()));
      all.push_back(transport.receive(left_of(transport), Channel::kForward, their_more.data(), more.size()));
      transport.dispatch();
      for (const auto &exchange : all) CHECK(outcome(*exchange).empty());
      CHECK(their_rows == numbered(count, left_of(transport)));
      CHECK(their_more == numbered(1000, 10 + left_of(transport)));
      transport.leave(20);
    });
}

TEST_CASE("messages go from device to device, after what was queued there before") {
  for (const size_t count : {size_t{1}, 4 * kMega, 9 * kMega - 1})
    on_transports(3, [&](Transport &transport) {
      CHECK((transport.takes_memory_of(transport.rank()) && !transport.takes_memory_of(7)));
      const OnDevice rows(numbered(count, transport.rank())), theirs(Bytes(count, 0));
      const std::unique_ptr<Exchange> sent = rows.send(transport, right_of(transport));
      const std::unique_ptr<Exchange> received = theirs.receive(transport, left_of(transport));
      transport.dispatch();
      CHECK((outcome(*sent).empty() && outcome(*received).empty()));
      CHECK(theirs.content() == numbered(count, left_of(transport)));
      transport.leave(20);
    });
  CHECK(live_objects() == 0);
}

TEST_CASE("one end of a message may lie on a device, and the other on the host, beside others") {
  constexpr size_t kCount = 5 * kMega + 3;
  on_transports(2, [](Transport &transport) {
    const int other = 1 - transport.rank();
    const Bytes more = numbered(1000, 10 + transport.rank());
    Bytes theirs(kCount), their_more(1000);
    const OnDevice rows(numbered(kCount, transport.rank())), on_device(Bytes(kCount, 0));
    std::vector<std::unique_ptr<Exchange>> all;
    all.push_back(transport.send(other, Channel::kForward, more.data(), more.size()));
    all.push_back(transport.receive(other, Channel::kForward, their_more.data(), their_more.size()));
    all.push_back(rows.send(transport, other));
    all.push_back(transport.rank() == 0 ? on_device.receive(transport, other)
                                        : transport.receive(other, Channel::kForward, theirs.data(), kCount));
    transport.dispatch();
    for (const auto &exchange : all) CHECK(outcome(*exchange).empty());
    CHECK((transport.rank() == 0 ? on_device.content() : theirs) == numbered(kCount, other));
    CHECK(their_more == numbered(1000, 10 + other));
    transport.leave(20);
  });
}

TEST_CASE("a message whose ends differ on devices ends the group") {
  on_transports(2, [](Transport &transport) {
    const OnDevice bytes(Bytes(transport.rank() == 0 ? 50 : 60, 1));
    const std::unique_ptr<Exchange> exchange =
        transport.rank() == 0 ? bytes.send(transport, 1) : bytes.receive(transport, 0);
    transport.dispatch();
    const std::string told = outcome(*exchange);
    if (transport.rank() == 1)
      CHECK(told.find("rank 0 sends 50 of type 1, and 60 of type 1 are received") != told.npos);
    else CHECK(told.find("rank 1 has gone") != told.npos);
  });
  CHECK(live_objects() == 0);
}

TEST_CASE("groups follow each other without a wait between them") {
  on_transports(2, [](Transport &transport) {
    constexpr int kGroups = 20;
    const int other = 1 - transport.rank();
    std::vector<Bytes> sent, received;
    std::vector<std::unique_ptr<Exchange>> all;
    for (int i = 0; i < kGroups; ++i) {
      sent.push_back(numbered(50000 * size_t(1 + i % 3), 2 * i + transport.rank()));
      received.emplace_back(sent.back().size());
    }
    for (int i = 0; i < kGroups; ++i) {
      const Channel channel = i % 2 ? Channel::kBackward : Channel::kCollective;
      all.push_back(transport.send(other, channel, sent[size_t(i)].data(), sent[size_t(i)].size()));
      all.push_back(transport.receive(other, channel, received[size_t(i)].data(), received[size_t(i)].size()));
      transport.dispatch();
    }
    for (const auto &exchange : all) CHECK(outcome(*exchange).empty());
    for (int i = 0; i < kGroups; ++i) CHECK(received[size_t(i)] == numbered(sent[size_t(i)].size(), 2 * i + other));
    transport.leave(20);
  });
}

TEST_CASE("a rank that leaves has said so, and what others send it then ends") {
  on_transports(2, [](Transport &transport) {
    const char own = char('a' + transport.rank());
    char theirs = 0;
    const int other = 1 - transport.rank();
    std::unique_ptr<Exchange> said = transport.send(other, Channel::kControl, &own, 1);
    if (transport.rank() == 1) return transport.leave(20);
    const std::unique_ptr<Exchange> heard = transport.receive(other, Channel::kControl, &theirs, 1);
    transport.dispatch();
    CHECK((outcome(*said).empty() && outcome(*heard).empty() && theirs == 'b'));
    transport.leave(0);
  });
}

}  // namespace infonce::test

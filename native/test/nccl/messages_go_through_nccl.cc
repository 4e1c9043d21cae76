// Messages of ranks arrive whole and in order, in groups of sends and receives that match.
#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

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

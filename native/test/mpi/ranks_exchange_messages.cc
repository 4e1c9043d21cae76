#include <doctest/doctest.h>

#include <chrono>
#include <cstring>
#include <deque>
#include <thread>

#include "test/mpi/ranks.h"

namespace infonce::test {

using group::Channel;
using group::Exchange;

TEST_SUITE_BEGIN("ranks" * doctest::skip());

TEST_CASE("ranks know their places") {
  CHECK(here().rank() >= 0);
  CHECK(here().rank() < here().size());
  CHECK(here().size() == std::atoi(std::getenv("INFONCE_TEST_RANKS")));
  // All are on this host.
  CHECK(here().local_rank() == here().rank());
  CHECK(here().local_size() == here().size());
  CHECK(here().library() == std::getenv("INFONCE_TEST_MPI"));
}

TEST_CASE("messages of any length go round the ring") {
  for (const size_t length :
       {size_t{0}, size_t{1}, size_t{1000}, kPiece - 1, kPiece, kPiece + 1, 3 * kPiece, 5 * kPiece + 12345}) {
    CAPTURE(length);
    // Each rank's differ in length, too.
    const auto length_of = [&](int rank) { return length < 1000 ? length : length - static_cast<size_t>(rank % 2); };
    int whose = here().rank();
    Bytes travelling = numbered(length_of(whose), whose);
    for (int hop = 1; hop < here().size(); hop++) {
      const int next = (whose + here().size() - 1) % here().size();
      Bytes arriving(length_of(next));
      const auto received = here().receive(left(), Channel::kForward, arriving.data(), arriving.size());
      const auto sent = here().send(right(), Channel::kForward, travelling.data(), travelling.size());
      wait(*received);
      wait(*sent);
      CHECK(sent->has_ended());
      CHECK(received->has_ended());
      CHECK(arriving == numbered(length_of(next), next));
      travelling = arriving;
      whose = next;
    }
  }
}

TEST_CASE("messages may be shorter than the room for them, and stay in order") {
  const std::vector<size_t> lengths = {0, 5, kPiece - 1, kPiece, 2 * kPiece + 7, 3, 0, 4 * kPiece, 1};
  const std::vector<size_t> rooms = {1, kPiece, kPiece, 3 * kPiece, 2 * kPiece + 8, 5 * kPiece, 9, 4 * kPiece, 2};
  std::vector<Bytes> outgoing, incoming;
  std::vector<std::unique_ptr<Exchange>> exchanges;
  for (size_t i = 0; i < lengths.size(); i++) {
    outgoing.push_back(numbered(lengths[i], static_cast<int>(i)));
    incoming.emplace_back(rooms[i], static_cast<unsigned char>(0xee));
  }
  for (size_t i = 0; i < lengths.size(); i++) {
    exchanges.push_back(here().receive(left(), Channel::kForward, incoming[i].data(), rooms[i]));
  }
  for (size_t i = 0; i < lengths.size(); i++) {
    exchanges.push_back(here().send(right(), Channel::kForward, outgoing[i].data(), lengths[i]));
  }
  for (const auto &exchange : exchanges) {
    wait(*exchange);
  }
  for (size_t i = 0; i < lengths.size(); i++) {
    CAPTURE(i);
    Bytes expected = outgoing[i];
    expected.resize(rooms[i], 0xee);
    CHECK(incoming[i] == expected);
  }
}

TEST_CASE("channels do not wait for each other") {
  const Bytes forward = numbered(2 * kPiece, 1), backward = numbered(1000, 2);
  Bytes forward_got(forward.size()), backward_got(backward.size());
  // What is sent first is asked for last.
  const auto sent = here().send(right(), Channel::kForward, forward.data(), forward.size());
  const auto sent_back = here().send(left(), Channel::kBackward, backward.data(), backward.size());
  const auto received_back = here().receive(right(), Channel::kBackward, backward_got.data(), backward_got.size());
  wait(*received_back);
  wait(*sent_back);
  CHECK(backward_got == backward);
  const auto received = here().receive(left(), Channel::kForward, forward_got.data(), forward_got.size());
  wait(*received);
  wait(*sent);
  CHECK(forward_got == forward);
}

TEST_CASE("many messages on one channel arrive in order") {
  constexpr int kMany = 500;
  std::deque<int> outgoing, incoming;
  std::vector<std::unique_ptr<Exchange>> exchanges;
  for (int i = 0; i < kMany; i++) {
    outgoing.push_back(i);
    incoming.push_back(-1);
    exchanges.push_back(here().send(right(), Channel::kControl, &outgoing.back(), sizeof(int)));
    exchanges.push_back(here().receive(left(), Channel::kControl, &incoming.back(), sizeof(int)));
  }
  for (const auto &exchange : exchanges) {
    wait(*exchange);
  }
  CHECK(incoming == outgoing);
}

TEST_CASE("messages move on while nobody asks for them") {
  const Bytes outgoing = numbered(8 * kPiece, here().rank());
  Bytes incoming(outgoing.size());
  meet();
  const auto received = here().receive(left(), Channel::kForward, incoming.data(), incoming.size());
  const auto sent = here().send(right(), Channel::kForward, outgoing.data(), outgoing.size());
  // The bytes themselves say so: this thread calls nothing.
  const Bytes expected = numbered(outgoing.size(), left());
  const auto begun = std::chrono::steady_clock::now();
  const volatile unsigned char *last = incoming.data() + incoming.size() - 64;
  bool arrived = false;
  while (!arrived && std::chrono::steady_clock::now() - begun < std::chrono::seconds(60)) {
    arrived = true;
    for (size_t i = 0; i < 64; i++) {
      arrived = arrived && last[i] == expected[expected.size() - 64 + i];
    }
  }
  CHECK(arrived);
  wait(*received);
  wait(*sent);
  CHECK(incoming == expected);
}

TEST_SUITE_END();

}  // namespace infonce::test

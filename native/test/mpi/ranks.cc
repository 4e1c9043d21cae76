#include "test/mpi/ranks.h"

#include <chrono>
#include <stdexcept>
#include <thread>

namespace infonce::test {

namespace {

std::unique_ptr<group::Transport> &opened() {
  static std::unique_ptr<group::Transport> one;
  return one;
}

}  // namespace

group::Transport &here() {
  if (opened() == nullptr) {
    mpi::MpiOptions options;
    options.piece = kPiece;
    options.start_timeout = 30;
    opened() = mpi::open_mpi(options);
  }
  return *opened();
}

void leave_if_open() {
  if (opened() != nullptr) {
    opened()->leave(20);
  }
}

void give_up() { opened().reset(); }

void wait(group::Exchange &exchange) {
  const auto begun = std::chrono::steady_clock::now();
  while (!exchange.has_ended()) {
    if (std::chrono::steady_clock::now() - begun > std::chrono::seconds(60)) {
      throw std::runtime_error("a message has not ended within 60 s");
    }
    std::this_thread::sleep_for(std::chrono::microseconds(20));
  }
}

Bytes numbered(size_t count, int number) {
  Bytes bytes(count);
  uint32_t state = 2654435761u * static_cast<uint32_t>(number + 1);
  for (unsigned char &byte : bytes) {
    state = state * 1664525u + 1013904223u;
    byte = static_cast<unsigned char>(state >> 24);
  }
  return bytes;
}

void meet() {
  for (int hop = 0; hop < here().size(); hop++) {
    char mine = 0, theirs = 0;
    const auto received = here().receive(left(), group::Channel::kCollective, &theirs, 1);
    const auto sent = here().send(right(), group::Channel::kCollective, &mine, 1);
    wait(*received);
    wait(*sent);
  }
}

}  // namespace infonce::test

// How ranks end, a suite for each launch: launches.sh says what the launcher has to make of it.
#include <doctest/doctest.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <thread>

#include "mpi/cannot_start.h"
#include "test/mpi/ranks.h"

namespace infonce::test {

using group::Channel;

namespace {

// Waits for what does not come, until the launcher ends this rank.
void wait_for_nothing() {
  char byte = 0;
  const auto received = here().receive(1, Channel::kControl, &byte, 1);
  wait(*received);
}

}  // namespace

TEST_CASE("a rank is killed" * doctest::test_suite("killed") * doctest::skip()) {
  meet();
  if (here().rank() == 1) {
    std::raise(SIGKILL);
  }
  wait_for_nothing();
}

TEST_CASE("a rank exits with messages under way" * doctest::test_suite("exits") * doctest::skip()) {
  meet();
  Bytes bytes(50 * kPiece);
  if (here().rank() == 1) {
    const auto sent = here().send(0, Channel::kForward, bytes.data(), bytes.size());
    const auto received = here().receive(0, Channel::kForward, bytes.data(), bytes.size());
    std::exit(0);
  }
  wait_for_nothing();
}

TEST_CASE("a transport is given up with messages under way" * doctest::test_suite("gives up") * doctest::skip()) {
  meet();
  if (here().rank() == 1) {
    Bytes bytes(50 * kPiece);
    const auto sent = here().send(0, Channel::kForward, bytes.data(), bytes.size());
    const auto received = here().receive(0, Channel::kForward, bytes.data(), bytes.size());
    give_up();
    CHECK_THROWS_WITH_AS(received->has_ended(), "the group was abandoned by this rank", group::Lost);
    CHECK_THROWS_AS(mpi::open_mpi({}), mpi::StartedBefore);
    std::exit(0);
  }
  wait_for_nothing();
}

TEST_CASE("the others do not leave" * doctest::test_suite("stays") * doctest::skip()) {
  meet();
  if (here().rank() == 0) {
    const auto begun = std::chrono::steady_clock::now();
    here().leave(0.2);
    CHECK(std::chrono::steady_clock::now() - begun < std::chrono::seconds(10));
    std::exit(0);
  }
  wait_for_nothing();
}

TEST_CASE("a rank never comes" * doctest::test_suite("never comes") * doctest::skip()) {
  const char *rank = std::getenv("OMPI_COMM_WORLD_RANK");
  if (std::atoi(rank != nullptr ? rank : std::getenv("PMI_RANK")) == 1) {
    std::this_thread::sleep_for(std::chrono::seconds(30));
    return;
  }
  mpi::MpiOptions options;
  options.start_timeout = 1;
  CHECK_THROWS_WITH_AS(mpi::open_mpi(options), doctest::Contains("or allow more time: timeout"), mpi::NotAllCame);
  CHECK_THROWS_AS(mpi::open_mpi(options), mpi::StartedBefore);
  std::exit(3);
}

}  // namespace infonce::test

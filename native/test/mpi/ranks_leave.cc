#include <doctest/doctest.h>

#include "mpi/cannot_start.h"
#include "test/mpi/ranks.h"

namespace infonce::test {

using group::Channel;

TEST_SUITE_BEGIN("ranks" * doctest::skip());

// The last of the suite: nothing can be exchanged any more. Rank 0 leaves first, while others still send to it and to each
// other.
TEST_CASE("a rank leaves early, and nobody waits for it") {
  const Bytes outgoing = numbered(3 * kPiece, 7);
  Bytes incoming(outgoing.size()), never(10);
  if (here().rank() == 0) {
    const bool alone = here().size() == 1;
    const auto sent = alone ? nullptr : here().send(1, Channel::kForward, outgoing.data(), outgoing.size());
    const auto received = here().receive(right(), Channel::kBackward, never.data(), never.size());
    here().leave(20);
    CHECK((alone || sent->has_ended()));
    CHECK_THROWS_WITH_AS(received->has_ended(), "this rank has left the group", group::Lost);
    return;
  }
  const auto unwanted = here().send(0, Channel::kForward, outgoing.data(), outgoing.size());
  wait(*unwanted);
  if (here().rank() == 1) {
    const auto received = here().receive(0, Channel::kForward, incoming.data(), incoming.size());
    wait(*received);
    CHECK(incoming == outgoing);
  }
}

// After it: nothing can be exchanged any more.
TEST_CASE("ranks leave, and MPI has ended") {
  here().leave(20);
  char byte = 0;
  CHECK_THROWS_WITH_AS(here().send(0, Channel::kForward, &byte, 1), "this rank has left the group", group::Lost);
  CHECK_THROWS_AS(mpi::open_mpi({}), mpi::StartedBefore);
}

TEST_SUITE_END();

}  // namespace infonce::test

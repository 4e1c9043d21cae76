// This process as a rank: the transport that all tests of one launch share.
#pragma once

#include <memory>
#include <vector>

#include "group/transport.h"
#include "mpi/mpi_transport.h"

namespace infonce::test {

// Small, so that messages of some megabytes go in several.
constexpr size_t kPiece = 1 << 20;

using Bytes = std::vector<unsigned char>;

// Opened when it is first asked for.
group::Transport &here();
void leave_if_open();
void give_up();

inline int right() { return (here().rank() + 1) % here().size(); }
inline int left() { return (here().rank() + here().size() - 1) % here().size(); }

// Throws after 20 s.
void wait(group::Exchange &exchange);

// Bytes that differ from those of any other number.
Bytes numbered(size_t count, int number);

// Returns when all ranks have come.
void meet();

}  // namespace infonce::test

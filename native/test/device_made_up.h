// A device that is none: the backend under test, which is the CPU's, with memory of its own that nobody else can use, and a
// stream whose work is done when somebody waits for it, no sooner.
#pragma once

#include <memory>

#include "group/transport.h"
#include "infonce/infonce.h"

namespace infonce::test {

// In its memory may be parts, what `add_gradient` and `close_gradient` fill, and what is copied and combined.
const infonce_backend &device_made_up();

// One rank in three takes no messages in memory of devices, so that both ends of a message lie in either.
std::unique_ptr<group::Transport> some_on_host(std::unique_ptr<group::Transport> transport);

// How many pieces of such memory, and points, there are.
int live_on_device();

}  // namespace infonce::test

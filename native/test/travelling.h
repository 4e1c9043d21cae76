#pragma once

#include <vector>

#include "test/case.h"
#include "test/context.h"
#include "test/group.h"

namespace infonce::test {

// A call on each rank's share whose candidates, where columns feed a softmax, travel with sums of their own: what the ranks
// come to, put together as the whole's. Ranks without anchors have no call. A part has `most_rows` at most.
Output run_travelling(const std::vector<const Context *> &contexts, const Inputs &whole,
                      const std::vector<Share> &shares, int64_t most_rows = INT64_MAX);

}  // namespace infonce::test

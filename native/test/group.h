#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "group/group.h"
#include "test/case.h"
#include "test/context.h"

namespace infonce::test {

// Runs body(group) on a thread for each rank, and throws what one of them throws.
void on_ranks(int size, const std::function<void(group::Group &)> &body, double patience = 60);

// Which rows of a whole problem's anchors are a rank's, and of its further matrices. With views: of each view.
struct Share {
  int64_t first, rows;                          // of anchors and keys
  int64_t first_further = 0, further_rows = 0;  // of candidates alone
};

// One for each rank; of random ones some may be empty.
std::vector<Share> even_shares(const Inputs &whole, int size);
std::vector<Share> random_shares(const Inputs &whole, int size, uint32_t seed);

// A rank's inputs.
Inputs inputs_of(const Inputs &whole, const Share &share);

// Where a rank's results, but for its scalars, belong in the whole's.
void put_share(const Output &output, const Inputs &whole, const Share &share, const Output &joined);

// What the ranks' calls come to, put together as the whole's.
Output run_on_ranks(const std::vector<const Context *> &contexts, const Inputs &whole, const std::vector<Share> &shares,
                    group::Gradients gradients = group::Gradients::kSum, bool in_two_halves = false);

}  // namespace infonce::test

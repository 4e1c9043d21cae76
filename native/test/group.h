#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "group/group.h"
#include "group/transport.h"
#include "test/case.h"
#include "test/context.h"
#include "test/forms.h"

namespace infonce::test {

// How ranks find each other that have a key in common. Unless a program says otherwise, they are threads and nothing else.
using Join = std::function<std::unique_ptr<group::Transport>(const std::string &key, int rank, int size)>;
void set_join(Join join);

// What is done to the transport of each rank.
using Wrap = std::function<std::unique_ptr<group::Transport>(std::unique_ptr<group::Transport>)>;

// Leaves all messages on the host.
std::unique_ptr<group::Transport> by_the_host(std::unique_ptr<group::Transport> transport);

// Until another rank has come so far.
void wait_for(const std::atomic<bool> &done);

// Runs body(group) on a thread for each rank, and throws what one of them throws.
void on_ranks(int size, const std::function<void(group::Group &)> &body, double patience = 60,
              const Wrap &wrap = nullptr);

// A context for each rank.
template <int kRanks> class ContextsOfRanks {
 public:
  ContextsOfRanks(const std::string &set, infonce_precision precision, int threads) {
    for (int rank = 0; rank < kRanks; ++rank) {
      contexts_.push_back(std::make_unique<Context>(set, precision, threads));
      handles_.push_back(contexts_.back().get());
    }
  }

  const std::vector<const Context *> &all() const { return handles_; }
  std::vector<const Context *> of(int size) const { return {handles_.begin(), handles_.begin() + size}; }

 private:
  std::vector<std::unique_ptr<Context>> contexts_;
  std::vector<const Context *> handles_;
};

// A form as it is, except its rows, of which ranks can have shares: no rank knows of a block between two matrices more than
// its own rows, and matrices of candidates alone have as many rows. Its rows are of one tower with views, or of two.
Form form_to_share(Form form);
void set_one_tower(Form *form, infonce_positive positive, int64_t samples, int64_t views);
void set_towers(Form *form, int64_t rows);

// Which rows of a whole problem's anchors are a rank's, and of its further matrices. With views: of each view.
struct Share {
  int64_t first, rows;                          // of anchors and keys
  int64_t first_further = 0, further_rows = 0;  // of candidates alone
  int64_t first_key = 0, keys = 0;              // of those that targets name, or of a memory
};

// One for each rank; of random ones some may be empty.
std::vector<Share> even_shares(const Inputs &whole, int size);
std::vector<Share> random_shares(const Inputs &whole, int size, uint32_t seed);

// A rank's inputs.
Inputs inputs_of(const Inputs &whole, const Share &share);

// Where a rank's results, except its scalars, belong in the whole's.
void put_share(const Output &output, const Inputs &whole, const Share &share, const Output &joined);

// What the ranks' calls come to, put together as the whole's.
Output run_on_ranks(const std::vector<const Context *> &contexts, const Inputs &whole, const std::vector<Share> &shares,
                    group::Gradients gradients = group::Gradients::kSum, bool in_two_halves = false,
                    const Wrap &wrap = nullptr);

}  // namespace infonce::test

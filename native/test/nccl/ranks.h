// Ranks over NCCL, each a thread. Tests of a group and of losses over it run over NCCL where this is linked.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "group/transport.h"
#include "nccl/nccl_transport.h"

namespace infonce::test {

nccl::NcclOptions options_of(const nccl::UniqueId &id, int rank, int size);

// Runs body(transport) on a thread for each rank, and throws what one of them throws.
void on_transports(int size, const std::function<void(group::Transport &)> &body);

// What keeps a rank from a group of its own.
std::string why_not(const nccl::NcclOptions &options);

// What ends an exchange: empty, or the group is lost. Throws after 100 s.
std::string outcome(group::Exchange &exchange);

// A variable of the environment, for a while.
class Variable {
 public:
  Variable(const char *name, const std::string &value);
  ~Variable();

 private:
  const char *const name_;
  std::string before_;
  bool was_set_ = false;
};

// Of the stand-in: allocations, streams and events that are there.
int live_objects();

}  // namespace infonce::test

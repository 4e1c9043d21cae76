#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "group/group.h"

namespace infonce::node {

// How a process group is found.
struct GroupOptions {
  std::string key;  // of ranks that are threads of this process; empty: MPI's
  int rank = 0, size = 0;
  std::string library;  // MPI's; empty: searched for
  double patience = 0;  // seconds after which a rank that does not come is lost
  double to_miss = 0;   // seconds after which it is missed
  std::string version;  // of the package
};

// A rank's place in a process group, shared by all that uses it. Usable from any thread.
class Membership {
 public:
  // Waits for the others. Once.
  void join(const GroupOptions &options);

  // Throws a Failure before `join`.
  group::Group &group();

  // The process or the environment ends: nothing waits for the others any more.
  void abandon() noexcept;

 private:
  std::mutex mutex_;
  std::atomic<bool> abandoned_{false};
  std::unique_ptr<group::Group> group_;
};

}  // namespace infonce::node

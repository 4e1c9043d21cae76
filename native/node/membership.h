#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "group/group.h"
#include "nccl/functions.h"

namespace infonce::node {

enum class Engine { kMpi, kLocal, kNccl };

// How a process group is found.
struct GroupOptions {
  Engine engine = Engine::kMpi;
  std::string key;         // of engine local
  int rank = 0, size = 0;  // of all but MPI, which says them
  std::string library;     // of MPI or NCCL; empty: searched for
  nccl::UniqueId id{};     // of NCCL, as the next
  int device = -1;
  double patience = 0;  // seconds after which a rank that does not come is lost
  double to_miss = 0;   // seconds after which it is missed
  std::string version;  // of the package
};

// What the ranks of a group over NCCL have in common. Throws a Failure.
nccl::UniqueId new_nccl_id(const std::string &library);

// A rank's place in a process group, shared by all that uses it. Usable from any thread.
class Membership {
 public:
  // Waits for the others. Once.
  void join(const GroupOptions &options);

  // Throws a Failure before `join`.
  group::Group &group();

  // The process or the environment ends: nothing waits for the others any more.
  void abandon() noexcept;
  // It ends well: the others are told where no step is under way.
  void end();

 private:
  std::mutex mutex_;
  std::atomic<bool> abandoned_{false};
  std::unique_ptr<group::Group> group_;
};

}  // namespace infonce::node

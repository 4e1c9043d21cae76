#include "node/membership.h"

#include <utility>

#include "common/threads.h"
#include "group/local_transport.h"
#include "mpi/mpi_transport.h"
#include "nccl/nccl_transport.h"
#include "node/failure.h"

namespace infonce::node {

namespace {

std::unique_ptr<group::Transport> open_transport(const GroupOptions &options, const std::atomic<bool> &abandoned) {
  switch (options.engine) {
    case Engine::kLocal:
      return group::join_local(options.key, options.rank, options.size, options.patience, &abandoned);
    case Engine::kNccl:
      return nccl::open_nccl(
          {options.rank, options.size, options.id, options.device, options.library, options.patience});
    default:
      mpi::MpiOptions mpi;
      mpi.library = options.library;
      mpi.start_timeout = options.patience;
      return mpi::open_mpi(mpi);
  }
}

}  // namespace

nccl::UniqueId new_nccl_id(const std::string &library) {
  try {
    return nccl::new_unique_id(library);
  } catch (const std::exception &error) {
    throw Failure::named("GROUP_UNAVAILABLE", error.what());
  }
}

void Membership::join(const GroupOptions &options) {
  std::unique_ptr<group::Transport> transport;
  try {
    transport = open_transport(options, abandoned_);
  } catch (const NoThread &) {
    throw;
  } catch (const std::exception &error) {
    throw Failure::named("GROUP_UNAVAILABLE", error.what());
  }
  auto group = std::make_unique<group::Group>(std::move(transport), options.patience, options.to_miss, options.version);
  const std::lock_guard<std::mutex> lock(mutex_);
  group_ = std::move(group);
  if (abandoned_) {
    group_->abandon();
  }
}

group::Group &Membership::group() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!group_) {
    throw Failure{INFONCE_INTERNAL, "the process group is not open"};
  }
  return *group_;
}

void Membership::abandon() noexcept {
  const std::lock_guard<std::mutex> lock(mutex_);
  abandoned_ = true;
  if (group_) {
    group_->abandon();
  }
}

void Membership::end() {
  bool is_member;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    is_member = group_ != nullptr;
  }
  is_member ? group_->end() : abandon();
}

}  // namespace infonce::node

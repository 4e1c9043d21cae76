#pragma once

#include <napi.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "node/membership.h"
#include "node/work.h"

namespace infonce::node {

// Finds the others. Makes what JavaScript calls a `NativePlace`.
class JoinWork : public Work {
 public:
  JoinWork(HostPool &pool, std::shared_ptr<Membership> membership, GroupOptions options)
      : Work(When::kLater, nullptr, pool), membership_(std::move(membership)), options_(std::move(options)) {}

  void run() override { membership_->join(options_); }
  void abandon() noexcept override { membership_->abandon(); }
  Napi::Value finish(Napi::Env env) override;

 private:
  std::shared_ptr<Membership> membership_;
  GroupOptions options_;
};

// A step of the group, for which the other ranks wait.
class GroupWork : public Work {
 public:
  GroupWork(HostPool &pool, std::shared_ptr<Membership> membership)
      : Work(When::kLater, nullptr, pool), membership_(std::move(membership)) {}

  void take_turn() override { turn_ = membership_->group().take_turn(); }
  bool is_awaited() const override { return true; }
  void abandon() noexcept override { membership_->abandon(); }
  Napi::Value finish(Napi::Env env) override { return env.Null(); }

 protected:
  group::Group &group() { return membership_->group(); }

  std::shared_ptr<Membership> membership_;
  int64_t turn_ = 0;
};

class BarrierWork : public GroupWork {
 public:
  using GroupWork::GroupWork;

  void run() override { group().barrier(turn_); }
};

// A reduction of arrays in place.
class ReductionWork : public GroupWork {
 public:
  // `values`: Float32Arrays and Float64Arrays.
  ReductionWork(HostPool &pool, std::shared_ptr<Membership> membership, const std::vector<Napi::Value> &values,
                bool mean);

  void run() override { group().all_reduce(turn_, numbers_, mean_); }

 private:
  std::vector<group::Numbers> numbers_;
  bool mean_;
};

// In place of a step that this rank cannot take: the others are told why.
class DeclineWork : public GroupWork {
 public:
  DeclineWork(HostPool &pool, std::shared_ptr<Membership> membership, std::string why)
      : GroupWork(pool, std::move(membership)), why_(std::move(why)) {}

  void run() override { group().decline(turn_, why_); }

 private:
  std::string why_;
};

// The end of the membership, when no step is under way any more.
class LeaveWork : public GroupWork {
 public:
  using GroupWork::GroupWork;

  void take_turn() override {}
  void run() override { group().leave(); }
};

// A whole loss over the rows of all ranks.
class GroupLossWork : public LossWork {
 public:
  GroupLossWork(When when, BackendContext &backend, HostPool &pool, Problem problem, const Result &result,
                std::shared_ptr<Membership> membership, group::Gradients gradients)
      : LossWork(when, backend, pool, std::move(problem), result),
        membership_(std::move(membership)),
        gradients_(gradients) {}

  void take_turn() override { turn_ = membership_->group().take_turn(); }
  void run() override { backend_.run_in(membership_->group(), turn_, problem_, gradients_, result_); }
  bool can_overlap() const override { return false; }
  bool is_awaited() const override { return true; }
  void abandon() noexcept override { membership_->abandon(); }

 private:
  std::shared_ptr<Membership> membership_;
  group::Gradients gradients_;
  int64_t turn_ = 0;
};

}  // namespace infonce::node

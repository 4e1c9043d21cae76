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

// Work of some kind that is a step of the group, for which the other ranks wait.
template <class Kind> class GroupStep : public Kind {
 public:
  template <class... Arguments>
  explicit GroupStep(std::shared_ptr<Membership> membership, Arguments &&...arguments)
      : Kind(std::forward<Arguments>(arguments)...), membership_(std::move(membership)) {}

  void take_turn() override { turn_ = membership_->group().take_turn(); }
  bool can_overlap() const override { return false; }
  bool is_awaited() const override { return true; }
  void abandon() noexcept override { membership_->abandon(); }

 protected:
  group::Group &group() { return membership_->group(); }

  std::shared_ptr<Membership> membership_;
  int64_t turn_ = 0;
};

// A step that is of no context.
class GroupWork : public GroupStep<Work> {
 public:
  GroupWork(HostPool &pool, std::shared_ptr<Membership> membership)
      : GroupStep(std::move(membership), When::kLater, nullptr, pool) {}

  Napi::Value finish(Napi::Env env) override { return env.Null(); }
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

// Takes the place of a step that this rank cannot take, and tells the others why.
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

// Losses over the rows of all ranks. What is not computed over ranks throws a NOT_OVER_RANKS Failure.

// A whole loss.
class GroupLossWork : public GroupStep<LossWork> {
 public:
  GroupLossWork(std::shared_ptr<Membership> membership, group::Gradients gradients, When when, BackendContext &backend,
                HostPool &pool, Problem problem, const Result &result)
      : GroupStep(std::move(membership), when, backend, pool, std::move(problem), result), gradients_(gradients) {}

  void run() override;

 private:
  group::Gradients gradients_;
};

// A loss whose gradients come later. Makes a NativeSaved.
class GroupForwardWork : public GroupStep<ForwardWork> {
 public:
  using GroupStep::GroupStep;

  void run() override;
};

// The gradients of such a call.
class GroupBackwardWork : public GroupStep<BackwardWork> {
 public:
  GroupBackwardWork(std::shared_ptr<Membership> membership, group::Gradients gradients, When when,
                    BackendContext &backend, HostPool &pool, const SavedState &saved, Napi::Value grad_output,
                    const Result &result)
      : GroupStep(std::move(membership), when, backend, pool, saved, grad_output, result), gradients_(gradients) {}

  void run() override;

 private:
  group::Gradients gradients_;
};

// Several whole losses as one step.
class SeveralLossesWork : public GroupStep<Work> {
 public:
  // `results`: one for each of the problems. `same`: numbers that are the same on all ranks.
  SeveralLossesWork(std::shared_ptr<Membership> membership, group::Gradients gradients, When when,
                    BackendContext &backend, HostPool &pool, std::vector<Problem> problems,
                    const std::vector<Result> &results, std::vector<double> same);

  void run() override;
  Napi::Value finish(Napi::Env env) override;
  void listen_to(const int32_t *cancelled) override;

 private:
  BackendContext &backend_;
  std::vector<infonce_problem> problems_;
  std::vector<infonce_result> results_;
  std::vector<double> same_;
  group::Gradients gradients_;
};

}  // namespace infonce::node

#include "group/group.h"

#include <cstdio>
#include <new>
#include <utility>

#include "group/abandonable_transport.h"
#include "group/form_over_ranks.h"
#include "group/ring_call.h"

namespace infonce::group {
namespace {
constexpr double kPartingSeconds = 5;
}

Group::Group(std::unique_ptr<Transport> transport, double patience, double to_miss, std::string version)
    : transport_(std::make_unique<AbandonableTransport>(std::move(transport), abandoned_)),
      watch_(to_miss),
      post_{*transport_, memory_, watch_, patience},
      version_(std::move(version)) {}

Group::~Group() = default;

int64_t Group::take_turn() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return ++last_turn_;
}

template <class Body> auto Group::step(int64_t turn, Body &&body) {
  {
    std::unique_lock<std::mutex> lock(mutex_);
    turned_.wait(lock, [&] { return turn_ >= turn || abandoned_; });
    if (abandoned_) throw Lost(kAbandoned);
  }
  struct Passing {
    Group &group;
    ~Passing() {
      const std::lock_guard<std::mutex> lock(group.mutex_);
      ++group.turn_;
      group.turned_.notify_all();
    }
  } passing{*this};
  if (!lost_.empty()) throw Lost(lost_);
  try {
    return body();
  } catch (const PeerFailed &) {
    throw;
  } catch (const std::exception &error) {
    // Lost; or what left the step where the others did not.
    lost_ = error.what();
    transport_->abandon();
    throw;
  }
}

Record Group::record_of(Kind kind) {
  Record record;
  std::snprintf(record.version, sizeof record.version, "%s (interface %d)", version_.c_str(), INFONCE_ABI_VERSION);
  record.kind = kind;
  record.sequence = ++steps_;
  watch_.begin(steps_);
  return record;
}

void Group::barrier(int64_t turn) {
  step(turn, [&] { agree(post_, record_of(Kind::kBarrier)); });
}

void Group::all_reduce(int64_t turn, const std::vector<Numbers> &arrays, bool mean) {
  const bool had_memory = step(turn, [&] {
    Record record = record_of(Kind::kReduction);
    Hash hash;
    hash.add(mean);
    for (const Numbers &array : arrays) hash.add(array.count).add(array.is_double);
    record.form = hash.value();
    std::unique_ptr<Reduction> reduction;
    try {
      reduction = std::make_unique<Reduction>(post_, arrays);
    } catch (const std::bad_alloc &) {
      record.status = INFONCE_OUT_OF_MEMORY;
      std::snprintf(record.message, sizeof record.message, "not enough memory for allReduce");
    }
    agree(post_, record);
    if (!reduction) return false;
    reduction->run(mean);
    return true;
  });
  if (!had_memory) throw std::bad_alloc();
}

infonce_status Group::run(int64_t turn, const infonce_backend &backend, infonce_context *context,
                          const infonce_problem &problem, Gradients gradients, infonce_result *result,
                          infonce_failure *failure) {
  return step(turn,
              [&] { return run_one(record_of(Kind::kLoss), backend, context, problem, gradients, result, failure); });
}

infonce_status Group::run_one(const Record &record, const infonce_backend &backend, infonce_context *context,
                              const infonce_problem &problem, Gradients gradients, infonce_result *result,
                              infonce_failure *failure) {
  if (transport_->size() > 1) return RingCall(post_, backend, context).run(record, problem, gradients, result, failure);
  infonce_problem alone = problem;
  leave_out_empty_memory(&alone);
  return backend.run(context, &alone, result, failure);
}

infonce_status Group::run_several(int64_t turn, const infonce_backend &backend, infonce_context *context,
                                  const std::vector<Asked> &calls, const std::vector<double> &same, Gradients gradients,
                                  infonce_failure *failure) {
  return step(turn, [&] {
    Record record = record_of(Kind::kSeveral);
    Hash hash;
    hash.add(calls.size());
    for (const double number : same) hash.add(number);
    record.form = hash.value();
    agree(post_, record);
    Record of_each = record;
    of_each.kind = Kind::kLoss;
    for (const Asked &call : calls) {
      const infonce_status status = run_one(of_each, backend, context, *call.problem, gradients, call.result, failure);
      if (status != INFONCE_OK) return status;
    }
    return INFONCE_OK;
  });
}

infonce_status Group::forward(int64_t turn, const infonce_backend &backend, infonce_context *context,
                              const infonce_problem &problem, infonce_result *result, std::unique_ptr<RingCall> *saved,
                              infonce_failure *failure) {
  return step(turn, [&] {
    auto call = std::make_unique<RingCall>(post_, backend, context);
    const infonce_status status = call->forward(record_of(Kind::kLoss), problem, result, failure);
    if (status == INFONCE_OK) *saved = std::move(call);
    return status;
  });
}

infonce_status Group::backward(int64_t turn, RingCall &saved, const infonce_upstream &upstream, Gradients gradients,
                               infonce_result *result, infonce_failure *failure) {
  return step(turn, [&] { return saved.backward(record_of(Kind::kBackward), upstream, gradients, result, failure); });
}

void Group::decline(int64_t turn, const std::string &why) {
  step(turn, [&] {
    Record record = record_of(Kind::kLoss);
    record.status = INFONCE_INVALID_ARGUMENT;
    std::snprintf(record.message, sizeof record.message, "%s", why.c_str());
    agree(post_, record);
  });
}

void Group::give_up(int64_t turn) {
  try {
    step(turn, []() -> void { throw Lost("a step of this rank was never taken"); });
  } catch (const Lost &) {
  }
}

void Group::abandon() noexcept {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    abandoned_ = true;
  }
  turned_.notify_all();
  transport_->abandon();
}

void Group::leave() {
  if (has_left_.exchange(true)) return;
  if (lost_.empty()) {
    // Read by the others in place of their next step's record. Those who leave as well read nothing any more.
    Record record = record_of(Kind::kLeft);
    --record.sequence;
    Mail mail(post_);
    for (int other = 0; other < transport_->size(); ++other)
      if (other != transport_->rank()) mail.send(other, Channel::kControl, &record, sizeof record);
    lost_ = "this rank has left the group";
    // The others may be at work still, which the launcher would cut short if this rank ended without them.
    transport_->leave(post_.patience);
    return;
  }
  transport_->leave(kPartingSeconds);
}

void Group::end() {
  bool is_idle;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    is_idle = turn_ > last_turn_ && lost_.empty();
  }
  is_idle && !has_left_ ? leave() : abandon();
}

}  // namespace infonce::group

#include "node/group_work.h"

#include "node/failure.h"

namespace infonce::node {

namespace {

// The size of an element; other arrays are refused.
size_t number_size(Napi::Value value) {
  if (value.IsTypedArray()) {
    const napi_typedarray_type type = value.As<Napi::TypedArray>().TypedArrayType();
    if (type == napi_float32_array || type == napi_float64_array) {
      return type == napi_float32_array ? sizeof(float) : sizeof(double);
    }
  }
  throw Failure{INFONCE_INVALID_ARGUMENT, "arrays must be Float32Arrays or Float64Arrays"};
}

// What a loss leaves for its gradients: before the group goes.
struct SavedCall {
  std::shared_ptr<Membership> membership;
  std::unique_ptr<group::RingCall> call;
};

// Problems have been checked: what is wrong with them now is that they are over ranks.
void take_loss_step(BackendContext &backend, const BackendContext::Step &step) {
  try {
    backend.take_step(step);
  } catch (Failure &failure) {
    if (failure.status == INFONCE_INVALID_ARGUMENT) {
      failure.name = failure.matrix == INFONCE_NO_MATRIX ? "NOT_OVER_RANKS" : "WRONG_OVER_RANKS";
    }
    throw;
  }
}

}  // namespace

Napi::Value JoinWork::finish(Napi::Env env) {
  const group::Transport &transport = membership_->group().transport();
  Napi::Object place = Napi::Object::New(env);
  place.Set("rank", transport.rank());
  place.Set("size", transport.size());
  place.Set("localRank", transport.local_rank());
  place.Set("localSize", transport.local_size());
  place.Set("library", transport.library());
  return place;
}

ReductionWork::ReductionWork(HostPool &pool, std::shared_ptr<Membership> membership,
                             const std::vector<Napi::Value> &values, bool mean)
    : GroupWork(pool, std::move(membership)), mean_(mean) {
  for (const Napi::Value value : values) {
    const size_t size = number_size(value);
    const Span<void> span = arrays.in_place(value, "arrays");
    numbers_.push_back({span.data, static_cast<int64_t>(span.size / size), size == sizeof(double)});
  }
}

void GroupLossWork::run() {
  take_loss_step(backend_, [&](const infonce_backend &backend, infonce_context *context, infonce_failure *failure) {
    return group().run(turn_, backend, context, problem_, gradients_, &result_, failure);
  });
}

void GroupForwardWork::run() {
  auto saved = std::make_unique<SavedCall>();
  saved->membership = membership_;
  take_loss_step(backend_, [&](const infonce_backend &backend, infonce_context *context, infonce_failure *failure) {
    return group().forward(turn_, backend, context, problem_, &result_, &saved->call, failure);
  });
  saved_.state = backend_.keep(std::move(saved));
  saved_.owner = &backend_;
  saved_.group = membership_.get();
}

void GroupBackwardWork::run() {
  group::RingCall &call = *static_cast<SavedCall *>(state_)->call;
  backend_.take_step([&](const infonce_backend &, infonce_context *, infonce_failure *failure) {
    return group().backward(turn_, call, upstream_, gradients_, &result_, failure);
  });
}

SeveralLossesWork::SeveralLossesWork(std::shared_ptr<Membership> membership, group::Gradients gradients, When when,
                                     BackendContext &backend, HostPool &pool, std::vector<Problem> problems,
                                     const std::vector<Result> &results, std::vector<double> same)
    : GroupStep(std::move(membership), when, &backend, pool),
      backend_(backend),
      same_(std::move(same)),
      gradients_(gradients) {
  for (size_t k = 0; k < problems.size(); ++k) {
    results_.push_back(take_outputs(results[k], problems[k].fields, arrays));
    take_inputs(problems[k], arrays);
    problems_.push_back(problems[k].fields);
  }
}

void SeveralLossesWork::run() {
  std::vector<group::Asked> calls;
  for (size_t k = 0; k < problems_.size(); ++k) {
    calls.push_back({&problems_[k], &results_[k]});
  }
  take_loss_step(backend_, [&](const infonce_backend &backend, infonce_context *context, infonce_failure *failure) {
    return group().run_several(turn_, backend, context, calls, same_, gradients_, failure);
  });
}

Napi::Value SeveralLossesWork::finish(Napi::Env env) {
  for (size_t k = 0; k < results_.size(); ++k) {
    arrays.write_scalars(results_[k], k);
  }
  return env.Null();
}

void SeveralLossesWork::listen_to(const int32_t *cancelled) {
  for (infonce_problem &problem : problems_) {
    problem.cancelled = cancelled;
  }
}

}  // namespace infonce::node

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

}  // namespace infonce::node

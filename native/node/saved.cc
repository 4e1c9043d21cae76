#include "node/saved.h"

#include <utility>

#include "node/classes.h"
#include "node/failure.h"
#include "node/problem.h"

namespace infonce::node {

namespace {

constexpr napi_type_tag kTag = {0x2b8e64d1904f4c7a, 0xb1c05e97d36842fa};

// What the constructor is to take over; null when it is JavaScript that calls it.
thread_local SavedState *fresh = nullptr;

}  // namespace

int64_t SavedState::bytes() const {
  int64_t size = 0;
  for (int m = 0; m < problem.matrix_count; ++m) {
    size += matrix_size(problem, m);
  }
  return static_cast<int64_t>(sizeof(float)) * size;
}

Napi::Function Saved::define(Napi::Env env) {
  return DefineClass(env, "Saved", {InstanceMethod<&Saved::dispose>("dispose")});
}

Napi::Value Saved::make(Napi::Env env, SavedState saved) {
  fresh = &saved;
  try {
    const Napi::Object object = Classes::of(env).saved.New({});
    fresh = nullptr;
    return object;
  } catch (...) {
    fresh = nullptr;
    throw;
  }
}

const SavedState &Saved::from(Napi::Value value, const BackendContext &backend) {
  if (!has_tag(value, kTag)) {
    throw Failure{INFONCE_INVALID_ARGUMENT, "saved must be what a forward call has given"};
  }
  const SavedState &saved = Unwrap(value.As<Napi::Object>())->saved_;
  if (saved.state == nullptr) {
    throw Failure{INFONCE_INVALID_ARGUMENT, "the saved state was disposed"};
  }
  if (saved.owner != &backend) {
    throw Failure{INFONCE_INVALID_ARGUMENT, "the saved state is another context's"};
  }
  return saved;
}

Saved::Saved(const Napi::CallbackInfo &info) : Napi::ObjectWrap<Saved>(info) {
  throwing_to_js(info.Env(), [&] {
    SavedState *content = std::exchange(fresh, nullptr);
    if (content == nullptr) {
      throw Failure{INFONCE_INVALID_ARGUMENT, "saved state is made by forward calls"};
    }
    info.This().As<Napi::Object>().TypeTag(&kTag);
    saved_ = std::move(*content);
    Napi::MemoryManagement::AdjustExternalMemory(info.Env(), saved_.bytes());
  });
}

void Saved::Finalize(Napi::BasicEnv env) { free(env); }

void Saved::dispose(const Napi::CallbackInfo &info) { free(info.Env()); }

void Saved::free(Napi::BasicEnv env) {
  if (saved_.state != nullptr) {
    saved_.state.reset();
    Napi::MemoryManagement::AdjustExternalMemory(env, -saved_.bytes());
  }
}

}  // namespace infonce::node

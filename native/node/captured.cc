#include "node/captured.h"

#include <utility>

#include "node/arrays.h"
#include "node/classes.h"
#include "node/failure.h"

namespace infonce::node {

namespace {

constexpr napi_type_tag kTag = {0x51c7f0a9e34d4b16, 0x8a92be60d7f315c4};

// What the constructor is to take over, a Captured::Fresh; null when it is JavaScript that calls it.
thread_local void *fresh = nullptr;

}  // namespace

struct Captured::Fresh {
  std::shared_ptr<CapturedCall> call;
  const BackendContext *owner;
};

Napi::Function Captured::define(Napi::Env env) {
  return DefineClass(env, "Captured", {InstanceMethod<&Captured::dispose>("dispose")});
}

Napi::Value Captured::make(Napi::Env env, BackendContext &backend, HostPool &pool, Problem problem,
                           const Result &result) {
  // No JavaScript runs until the call is captured, which takes the host's arrays where they are.
  Arrays arrays(When::kNow, &backend, pool);
  const infonce_result outputs = take_outputs(result, problem.fields, arrays);
  take_inputs(problem, arrays);
  auto call = std::make_shared<CapturedCall>();
  call->graph = backend.capture(problem.fields, outputs);
  call->memory = arrays.kept();
  call->problem = without_arrays(problem.fields);
  Fresh content{std::move(call), &backend};
  fresh = &content;
  try {
    const Napi::Object object = Classes::of(env).captured.New({});
    fresh = nullptr;
    return object;
  } catch (...) {
    fresh = nullptr;
    throw;
  }
}

const std::shared_ptr<CapturedCall> &Captured::from(Napi::Value value, const BackendContext &backend) {
  if (!has_tag(value, kTag)) {
    throw Failure{INFONCE_INVALID_ARGUMENT, "captured must be what capture has given"};
  }
  const Captured &captured = *Unwrap(value.As<Napi::Object>());
  if (captured.call_ == nullptr) {
    throw Failure{INFONCE_INVALID_ARGUMENT, "the captured call was disposed"};
  }
  if (captured.owner_ != &backend) {
    throw Failure{INFONCE_INVALID_ARGUMENT, "the captured call is another context's"};
  }
  return captured.call_;
}

Captured::Captured(const Napi::CallbackInfo &info) : Napi::ObjectWrap<Captured>(info) {
  throwing_to_js(info.Env(), [&] {
    Fresh *content = static_cast<Fresh *>(std::exchange(fresh, nullptr));
    if (content == nullptr) {
      throw Failure{INFONCE_INVALID_ARGUMENT, "captured calls are made by the capture method of a context"};
    }
    info.This().As<Napi::Object>().TypeTag(&kTag);
    call_ = std::move(content->call);
    owner_ = content->owner;
    Napi::MemoryManagement::AdjustExternalMemory(info.Env(), bytes());
  });
}

void Captured::Finalize(Napi::BasicEnv env) { free(env); }

void Captured::dispose(const Napi::CallbackInfo &info) { free(info.Env()); }

void Captured::free(Napi::BasicEnv env) {
  if (call_ != nullptr) {
    Napi::MemoryManagement::AdjustExternalMemory(env, -bytes());
    call_.reset();
  }
}

int64_t Captured::bytes() const {
  int64_t size = 0;
  for (int m = 0; m < call_->problem.matrix_count; ++m) {
    size += matrix_size(call_->problem, m);
  }
  return static_cast<int64_t>(sizeof(float)) * size;
}

}  // namespace infonce::node

#pragma once

#include <napi.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "node/backend_context.h"
#include "node/problem.h"
#include "node/queue.h"

namespace infonce::node {

// `NativeContext` of lib/runtime/binding.ts.
class Context : public Napi::ObjectWrap<Context> {
 public:
  // The JavaScript class.
  static Napi::Function define(Napi::Env env);

  explicit Context(const Napi::CallbackInfo &info);

 private:
  Napi::Value threads(const Napi::CallbackInfo &info);
  Napi::Value instruction_set(const Napi::CallbackInfo &info);
  void run(const Napi::CallbackInfo &info);
  Napi::Value submit(const Napi::CallbackInfo &info);
  Napi::Value cancel(const Napi::CallbackInfo &info);
  void logits(const Napi::CallbackInfo &info);
  void dispose(const Napi::CallbackInfo &info);

  void open(Napi::Object options);
  // The backend's context, or a Failure once disposed.
  BackendContext &backend();
  // Points `problem` at its arrays, labels at a copy of them.
  void attach_inputs(Problem &problem);

  int32_t threads_ = 0;
  std::string instruction_set_;
  std::unique_ptr<BackendContext> backend_;
  // After `backend_`, so that its thread ends before that goes.
  std::unique_ptr<Queue> queue_;
  // A copy of a call's labels: another thread may write to shared memory, and the backend indexes by them.
  std::vector<int32_t> labels_;
};

}  // namespace infonce::node

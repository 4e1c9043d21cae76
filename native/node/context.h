#pragma once

#include <napi.h>

#include <memory>
#include <string>

#include "node/backend_context.h"
#include "node/group.h"
#include "node/host_memory.h"
#include "node/queue.h"
#include "node/work.h"

namespace infonce::node {

// `NativeContext` of lib/runtime/binding.ts.
class Context : public Napi::ObjectWrap<Context> {
 public:
  // The JavaScript class.
  static Napi::Function define(Napi::Env env);

  explicit Context(const Napi::CallbackInfo &info);
  ~Context() override { close(); }

 private:
  Napi::Value run(const Napi::CallbackInfo &info);
  Napi::Value run_several(const Napi::CallbackInfo &info);
  Napi::Value capture(const Napi::CallbackInfo &info);
  Napi::Value replay(const Napi::CallbackInfo &info);
  Napi::Value forward(const Napi::CallbackInfo &info);
  Napi::Value backward(const Napi::CallbackInfo &info);
  Napi::Value write(const Napi::CallbackInfo &info);
  Napi::Value read(const Napi::CallbackInfo &info);
  Napi::Value cancel(const Napi::CallbackInfo &info);
  Napi::Value allocate(const Napi::CallbackInfo &info);
  Napi::Value wrap(const Napi::CallbackInfo &info);
  void examine(const Napi::CallbackInfo &info);
  Napi::Value export_memory(const Napi::CallbackInfo &info);
  Napi::Value import_memory(const Napi::CallbackInfo &info);
  Napi::Value pinned(const Napi::CallbackInfo &info);
  Napi::Value result(const Napi::CallbackInfo &info);
  void rest(const Napi::CallbackInfo &info);
  Napi::Value memory_required(const Napi::CallbackInfo &info);
  void logits(const Napi::CallbackInfo &info);
  Napi::Value trim(const Napi::CallbackInfo &info);
  void dispose(const Napi::CallbackInfo &info);

  void open(Napi::Object self, Napi::Object options);
  void close();
  // The backend's context, or a Failure once disposed.
  BackendContext &backend();

  // Work as the arguments of a method describe it. What it reads of them may run JavaScript, which does not happen after
  // its arrays were taken.
  std::unique_ptr<Work> loss_work(const Napi::CallbackInfo &info, When when);
  std::unique_ptr<Work> several_losses_work(const Napi::CallbackInfo &info, When when);
  std::unique_ptr<Work> replay_work(const Napi::CallbackInfo &info, When when);
  std::unique_ptr<Work> forward_work(const Napi::CallbackInfo &info, When when);
  std::unique_ptr<Work> backward_work(const Napi::CallbackInfo &info, When when);
  std::unique_ptr<Work> write_work(const Napi::CallbackInfo &info, When when);
  std::unique_ptr<Work> read_work(const Napi::CallbackInfo &info, When when);
  using MakeWork = std::unique_ptr<Work> (Context::*)(const Napi::CallbackInfo &info, When when);

  // If argument `done` is a function, queues the work, calls it on completion and returns the ticket. Else does the work now,
  // after all that is queued, and returns its result. Work that cannot be a step of `of_group`, unless that
  // is undefined or empty, is declined there.
  Napi::Value perform(const Napi::CallbackInfo &info, MakeWork make, size_t done, Napi::Value of_group = {});

  std::shared_ptr<BackendContext> backend_;
  std::shared_ptr<HostPool> pool_;
  // After `backend_`, so that its thread ends before that goes.
  std::unique_ptr<Queue> queue_;
};

}  // namespace infonce::node

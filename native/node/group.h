#pragma once

#include <napi.h>

#include <memory>
#include <string>

#include "node/host_memory.h"
#include "node/membership.h"
#include "node/queue.h"
#include "node/work.h"

namespace infonce::node {

// `NativeGroup` of lib/runtime/binding.ts.
class Group : public Napi::ObjectWrap<Group> {
 public:
  // The JavaScript class.
  static Napi::Function define(Napi::Env env);

  // What `value` wraps, or a Failure.
  static Group &from(Napi::Value value);

  explicit Group(const Napi::CallbackInfo &info);

  const std::shared_ptr<Membership> &membership() const { return membership_; }

  // Tells the others why this rank cannot take a step.
  void decline(Napi::Env env, std::string why);

 private:
  void open(const Napi::CallbackInfo &info);
  void all_reduce(const Napi::CallbackInfo &info);
  void barrier(const Napi::CallbackInfo &info);
  void decline_step(const Napi::CallbackInfo &info);
  Napi::Value take_missed(const Napi::CallbackInfo &info);
  void leave(const Napi::CallbackInfo &info);
  void abandon(const Napi::CallbackInfo &info);
  void end(const Napi::CallbackInfo &info);

  // Queues the work, and calls the function `done` on completion.
  void submit(Napi::Value done, std::unique_ptr<Work> work);

  std::shared_ptr<Membership> membership_ = std::make_shared<Membership>();
  std::shared_ptr<HostPool> pool_;
  // Last, so that its thread ends before the rest goes.
  Queue queue_;
};

}  // namespace infonce::node

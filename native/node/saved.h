#pragma once

#include <napi.h>

#include <cstdint>
#include <memory>

#include "infonce/infonce.h"
#include "node/backend_context.h"

namespace infonce::node {

class Membership;

// The state that a forward call keeps for its gradients.
struct SavedState {
  // Of the call, without its arrays.
  infonce_problem problem{};
  std::shared_ptr<void> state;
  const BackendContext *owner = nullptr;
  const Membership *group = nullptr;  // of which the call was a step, as its gradients are; null: of none

  // Its approximate size, float32 rows of all matrices, for the garbage collector, which cannot see it.
  int64_t bytes() const;
};

// `NativeSaved` of lib/runtime/binding.ts. Jobs hold the state itself.
class Saved : public Napi::ObjectWrap<Saved> {
 public:
  static Napi::Function define(Napi::Env env);
  static Napi::Value make(Napi::Env env, SavedState saved);

  // The state `value` wraps, which must belong to this context. Throws a Failure otherwise.
  static const SavedState &from(Napi::Value value, const BackendContext &backend);

  // Called by `make` alone; JavaScript gets an error.
  explicit Saved(const Napi::CallbackInfo &info);
  void Finalize(Napi::BasicEnv env) override;

 private:
  void dispose(const Napi::CallbackInfo &info);
  void free(Napi::BasicEnv env);

  SavedState saved_;
};

}  // namespace infonce::node

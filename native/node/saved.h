#pragma once

#include <napi.h>

#include <memory>

#include "infonce/infonce.h"
#include "node/backend_context.h"

namespace infonce::node {

// What a forward call leaves for its gradients.
struct SavedState {
  // The sizes and rules of the call, without its arrays.
  infonce_problem problem{};
  std::shared_ptr<void> state;
  const BackendContext *owner = nullptr;
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

 private:
  void dispose(const Napi::CallbackInfo &info);

  SavedState saved_;
};

}  // namespace infonce::node

#pragma once

#include <napi.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "infonce/infonce.h"
#include "node/backend_context.h"
#include "node/host_memory.h"
#include "node/problem.h"
#include "node/result.h"

namespace infonce::node {

// A call that can be repeated, and what it reads and fills.
struct CapturedCall {
  infonce_problem problem{};  // without its arrays
  std::vector<std::shared_ptr<void>> memory;
  std::shared_ptr<void> graph;
};

// `NativeCaptured` of lib/runtime/binding.ts. Jobs hold the call itself.
class Captured : public Napi::ObjectWrap<Captured> {
 public:
  static Napi::Function define(Napi::Env env);
  // Throws a Failure where it cannot be captured.
  static Napi::Value make(Napi::Env env, BackendContext &backend, HostPool &pool, Problem problem,
                          const Result &result);

  // What `value` wraps, which must belong to this context. Throws a Failure otherwise.
  static const std::shared_ptr<CapturedCall> &from(Napi::Value value, const BackendContext &backend);

  // Called by `make` alone; JavaScript gets an error.
  explicit Captured(const Napi::CallbackInfo &info);
  void Finalize(Napi::BasicEnv env) override;

 private:
  struct Fresh;

  void dispose(const Napi::CallbackInfo &info);
  void free(Napi::BasicEnv env);
  // Its approximate size, float32 rows of all matrices, for the garbage collector, which cannot see it.
  int64_t bytes() const;

  std::shared_ptr<CapturedCall> call_;
  const BackendContext *owner_ = nullptr;
};

}  // namespace infonce::node

#pragma once

#include <napi.h>

#include <cstdint>
#include <memory>

#include "infonce/infonce.h"
#include "node/arrays.h"
#include "node/backend_context.h"
#include "node/problem.h"
#include "node/result.h"
#include "node/saved.h"

namespace infonce::node {

// Something for a backend to do with arrays of JavaScript, now or later. Made and destroyed on JavaScript's thread; the
// backend does it on any. Throws a Failure.
class Work {
 public:
  Work(When when, BackendContext &backend, HostPool &pool) : arrays(when, backend, pool) {}
  virtual ~Work() = default;
  Work(const Work &) = delete;
  Work &operator=(const Work &) = delete;

  virtual void run(BackendContext &backend) = 0;

  // The same in two halves, if there are: the second is called exactly when the first has returned.
  virtual bool can_overlap(const BackendContext &) const { return false; }
  virtual void begin(BackendContext &) {}
  virtual void end(BackendContext &) {}

  // On JavaScript's thread, once it is done and the arrays are copied back: fills in the rest, and returns what the work
  // makes.
  virtual Napi::Value finish(Napi::Env env) = 0;

  // From when on another thread may set it.
  virtual void listen_to(const int32_t *) {}

  Arrays arrays;
};

// A whole loss.
class LossWork : public Work {
 public:
  LossWork(When when, BackendContext &backend, HostPool &pool, Problem problem, const Result &result);

  void run(BackendContext &backend) override { backend.run(problem_, result_); }
  bool can_overlap(const BackendContext &backend) const override { return backend.can_overlap(); }
  void begin(BackendContext &backend) override { call_ = backend.begin(problem_, result_); }
  void end(BackendContext &backend) override { backend.end(call_); }
  Napi::Value finish(Napi::Env env) override;
  void listen_to(const int32_t *cancelled) override { problem_.cancelled = cancelled; }

 protected:
  infonce_problem problem_;
  infonce_result result_;

 private:
  infonce_call *call_ = nullptr;
};

// A loss whose gradients come later. Makes a NativeSaved.
class ForwardWork : public LossWork {
 public:
  using LossWork::LossWork;

  void run(BackendContext &backend) override;
  bool can_overlap(const BackendContext &) const override { return false; }
  Napi::Value finish(Napi::Env env) override;

 private:
  SavedState saved_;
};

// The gradients of a forward call.
class BackwardWork : public Work {
 public:
  BackwardWork(When when, BackendContext &backend, HostPool &pool, const SavedState &saved, Napi::Value grad_output,
               const Result &result);

  void run(BackendContext &backend) override { backend.backward(state_, upstream_, result_); }
  Napi::Value finish(Napi::Env env) override;
  void listen_to(const int32_t *cancelled) override { upstream_.cancelled = cancelled; }

 private:
  void *state_;
  infonce_upstream upstream_{};
  infonce_result result_;
};

// A copy to, from or within device memory.
class CopyWork : public Work {
 public:
  using Work::Work;

  // From an array, or from `bytes` of a buffer at `source_offset`, to `offset` in a buffer.
  void set_write(Napi::Value buffer, uint64_t offset, Napi::Value source, uint64_t source_offset, uint64_t bytes,
                 BackendContext &backend);
  // From `offset` in a buffer to an array.
  void set_read(Napi::Value buffer, uint64_t offset, Napi::Value target, BackendContext &backend);

  void run(BackendContext &backend) override;
  Napi::Value finish(Napi::Env env) override { return env.Null(); }

 private:
  void *to_ = nullptr;
  const void *from_ = nullptr;
  size_t bytes_ = 0;
  infonce_copy direction_ = INFONCE_COPY_TO_DEVICE;
};

}  // namespace infonce::node

#pragma once

#include <napi.h>

#include <cstdint>
#include <memory>

#include "infonce/infonce.h"
#include "node/arrays.h"
#include "node/backend_context.h"
#include "node/captured.h"
#include "node/problem.h"
#include "node/result.h"
#include "node/saved.h"

namespace infonce::node {

// Something to do with arrays of JavaScript, now or later. Made and destroyed on JavaScript's thread, done on any. Throws a
// Failure.
class Work {
 public:
  // `backend`: whose memory its arrays may be in; null: that of the host alone.
  Work(When when, BackendContext *backend, HostPool &pool) : arrays(when, backend, pool) {}
  virtual ~Work() = default;
  Work(const Work &) = delete;
  Work &operator=(const Work &) = delete;

  // On JavaScript's thread, when it is certain to be run, in the order of such calls.
  virtual void take_turn() {}

  virtual void run() = 0;

  // The same in two halves, if there are: the second is called exactly when the first has returned.
  virtual bool can_overlap() const { return false; }
  virtual void begin() {}
  virtual void end() {}

  // On JavaScript's thread, once it is done and the arrays are copied back: fills in the rest, and returns what the work
  // makes.
  virtual Napi::Value finish(Napi::Env env) = 0;

  // From when on another thread may set it.
  virtual void listen_to(const int32_t *) {}

  // Whether others wait for it, so that it is run even when it was cancelled before.
  virtual bool is_awaited() const { return false; }
  // From any thread: the process or the environment ends, and nothing is to be waited for any more.
  virtual void abandon() noexcept {}

  Arrays arrays;
};

// A whole loss.
class LossWork : public Work {
 public:
  LossWork(When when, BackendContext &backend, HostPool &pool, Problem problem, const Result &result);

  void run() override { backend_.run(problem_, result_); }
  bool can_overlap() const override { return backend_.can_overlap(); }
  void begin() override { call_ = backend_.begin(problem_, result_); }
  void end() override { backend_.end(call_); }
  Napi::Value finish(Napi::Env env) override;
  void listen_to(const int32_t *cancelled) override { problem_.cancelled = cancelled; }

 protected:
  BackendContext &backend_;
  infonce_problem problem_;
  infonce_result result_;

 private:
  infonce_call *call_ = nullptr;
};

// A loss whose gradients come later. Makes a NativeSaved.
class ForwardWork : public LossWork {
 public:
  using LossWork::LossWork;

  void run() override;
  bool can_overlap() const override { return false; }
  Napi::Value finish(Napi::Env env) override;

 protected:
  SavedState saved_;
};

// The gradients of a forward call.
class BackwardWork : public Work {
 public:
  BackwardWork(When when, BackendContext &backend, HostPool &pool, const SavedState &saved, Napi::Value grad_output,
               const Result &result);

  void run() override { backend_.backward(state_, upstream_, result_); }
  Napi::Value finish(Napi::Env env) override;
  void listen_to(const int32_t *cancelled) override { upstream_.cancelled = cancelled; }

 protected:
  BackendContext &backend_;
  void *state_;
  infonce_upstream upstream_{};
  infonce_result result_;
};

// A captured call once more.
class ReplayWork : public Work {
 public:
  ReplayWork(When when, BackendContext &backend, HostPool &pool, std::shared_ptr<CapturedCall> captured,
             const Result &result);

  void run() override {
    begin();
    end();
  }
  // Row losses are brought from memory that the next one works in.
  bool can_overlap() const override { return !has_row_losses_ && backend_.can_overlap(); }
  void begin() override { call_ = backend_.replay(graph_, cancelled_, result_); }
  void end() override { backend_.end(call_); }
  Napi::Value finish(Napi::Env env) override;
  void listen_to(const int32_t *cancelled) override { cancelled_ = cancelled; }

 private:
  BackendContext &backend_;
  void *graph_;
  bool has_row_losses_;
  infonce_result result_;
  const int32_t *cancelled_ = nullptr;
  infonce_call *call_ = nullptr;
};

// A copy to, from or within device memory.
class CopyWork : public Work {
 public:
  CopyWork(When when, BackendContext &backend, HostPool &pool) : Work(when, &backend, pool), backend_(backend) {}

  // From an array, or from `bytes` of a buffer at `source_offset`, to `offset` in a buffer.
  void set_write(Napi::Value buffer, uint64_t offset, Napi::Value source, uint64_t source_offset, uint64_t bytes);
  // From `offset` in a buffer to an array.
  void set_read(Napi::Value buffer, uint64_t offset, Napi::Value target);

  void run() override;
  Napi::Value finish(Napi::Env env) override { return env.Null(); }

 private:
  BackendContext &backend_;
  void *to_ = nullptr;
  const void *from_ = nullptr;
  size_t bytes_ = 0;
  infonce_copy direction_ = INFONCE_COPY_TO_DEVICE;
};

}  // namespace infonce::node

#pragma once

#include <napi.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "node/failure.h"
#include "node/work.h"

namespace infonce::node {

// Submitted work, and the callback for its end. Made, delivered and destroyed on the thread of its environment.
class Job {
 public:
  // `owner` is kept alive until the job is destroyed. `done` may be empty: nobody is told.
  Job(Napi::Object owner, Napi::Function done, std::unique_ptr<Work> work);
  Job(const Job &) = delete;
  Job &operator=(const Job &) = delete;

  // When it is certain to be run.
  void take_turn() { work_->take_turn(); }

  // On the queue's thread: all of it, or in two halves. A failure is kept.
  bool can_overlap() const { return work_->can_overlap(); }
  void run() noexcept;
  void begin() noexcept;
  void end() noexcept;
  bool ran_out_of_memory() const { return failure_ && failure_->status == INFONCE_OUT_OF_MEMORY; }

  // From any thread: lets a running job end early.
  void cancel() noexcept;
  // The same, and it waits for nobody else any more.
  void abandon() noexcept;
  // Whether it is run even when it was cancelled before.
  bool is_awaited() const { return work_->is_awaited(); }

  // Gives the job a failure instead of a result.
  void fail(Failure failure);

  // Copies at most `most` bytes of results into JavaScript's arrays. Less than that: it can be delivered.
  size_t copy_back(size_t most);
  // Fills in the rest and calls `done`, if there is one. Throws what `done` throws.
  void deliver(Napi::Env env);

 private:
  // Calls `part`, and keeps what it throws.
  template <typename Part> void attempt(Part part) noexcept;

  Napi::ObjectReference owner_;
  Napi::FunctionReference done_;
  std::unique_ptr<Work> work_;
  int32_t cancelled_ = 0;
  bool begun_ = false;
  std::optional<Failure> failure_;
};

}  // namespace infonce::node

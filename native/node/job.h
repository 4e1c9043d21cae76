#pragma once

#include <napi.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

#include "infonce/infonce.h"
#include "node/backend_context.h"
#include "node/failure.h"
#include "node/problem.h"
#include "node/result.h"

namespace infonce::node {

// One submitted call. Inputs are copied out of JavaScript's memory and results are computed in memory of its own, so
// that nothing JavaScript does meanwhile to its arrays (write, detach, transfer) can matter.
//
// Made, delivered and destroyed on the thread of its environment; run on any.
class Job {
 public:
  // `owner` is kept alive until the job is destroyed.
  Job(Napi::Object owner, const Problem &problem, const Result &result, Napi::Function done);

  void run(BackendContext &backend) noexcept;

  // Gives the job a failure instead of a result.
  void fail(Failure failure);

  // Copies the results into JavaScript's arrays and calls `done`. Throws what `done` throws.
  void deliver(Napi::Env env);

 private:
  template <typename T>
  using Memory = std::unique_ptr<T[]>;

  // An array of JavaScript, and the values to be copied into it.
  struct Target {
    Napi::ObjectReference array;
    Memory<float> values;
    size_t size;
    const char *name;
  };

  struct InputMemory {
    Memory<float> anchors;
    Memory<float> keys;
    Memory<float> negatives;
    Memory<int32_t> labels;
    Memory<float> grad_output;
  };

  void copy_inputs(Inputs inputs);
  void add_target(Napi::Value array, Span<float> &span, const char *name);
  void copy_results();

  Napi::ObjectReference owner_;
  Napi::FunctionReference done_;
  Napi::ObjectReference scalars_;
  std::vector<Target> targets_;
  InputMemory memory_;
  infonce_problem problem_;
  infonce_result result_;
  std::optional<Failure> failure_;
};

}  // namespace infonce::node

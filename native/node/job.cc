#include "node/job.h"

#include <algorithm>
#include <utility>

namespace infonce::node {

namespace {

// Memory that is left as it comes: every element of it is written before it is read.
template <typename T>
std::unique_ptr<T[]> allocate(size_t size) {
  return std::unique_ptr<T[]>(new T[size]);
}

// Copies what `span` shows and points it at the copy.
template <typename T>
std::unique_ptr<T[]> take_over(Span<T> &span) {
  if (span.data == nullptr) {
    return nullptr;
  }
  std::unique_ptr<T[]> memory = allocate<T>(span.size);
  std::copy_n(span.data, span.size, memory.get());
  span.data = memory.get();
  return memory;
}

}  // namespace

Job::Job(Napi::Object owner, const Problem &problem, const Result &result, Napi::Function done)
    : owner_(Napi::Persistent(owner)), done_(Napi::Persistent(done)), problem_(problem.fields) {
  Outputs outputs = take_outputs(result, problem);
  scalars_ = Napi::Persistent(result.scalars.As<Napi::Object>());
  add_target(result.row_loss, outputs.row_loss, "rowLoss");
  add_target(result.grad_anchors, outputs.grad_anchors, "gradAnchors");
  add_target(result.grad_keys, outputs.grad_keys, "gradKeys");
  add_target(result.grad_negatives, outputs.grad_negatives, "gradNegatives");
  result_ = outputs.fields();
  copy_inputs(take_inputs(problem));
}

void Job::run(BackendContext &backend) noexcept {
  try {
    backend.run(problem_, result_);
  } catch (...) {
    failure_ = current_failure();
  }
  memory_ = {};
}

void Job::fail(Failure failure) { failure_ = std::move(failure); }

void Job::deliver(Napi::Env env) {
  if (!failure_) {
    try {
      copy_results();
    } catch (...) {
      failure_ = current_failure();
    }
  }
  done_.Call({failure_ ? failure_->to_error(env).Value() : env.Null()});
}

void Job::copy_inputs(Inputs inputs) {
  memory_.anchors = take_over(inputs.anchors);
  memory_.keys = take_over(inputs.keys);
  memory_.negatives = take_over(inputs.negatives);
  memory_.labels = take_over(inputs.labels);
  memory_.grad_output = take_over(inputs.grad_output);
  inputs.attach(problem_);
}

void Job::add_target(Napi::Value array, Span<float> &span, const char *name) {
  if (array.IsEmpty()) {
    return;
  }
  Target target{Napi::Persistent(array.As<Napi::Object>()), allocate<float>(span.size), span.size, name};
  span.data = target.values.get();
  targets_.push_back(std::move(target));
}

void Job::copy_results() {
  // The lengths are asked for again: JavaScript may have detached an array since.
  const auto scalars = to_span_of<double>(scalars_.Value(), Outputs::kScalars, "scalars");
  for (const Target &target : targets_) {
    const auto array = to_span_of<float>(target.array.Value(), static_cast<int64_t>(target.size), target.name);
    std::copy_n(target.values.get(), target.size, array.data);
  }
  write_scalars(result_, scalars);
}

}  // namespace infonce::node

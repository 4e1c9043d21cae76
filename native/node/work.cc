#include "node/work.h"

#include <string>
#include <utility>

#include "node/device_buffer.h"
#include "node/failure.h"

namespace infonce::node {

namespace {

// The address `offset` bytes into a buffer, after which there are at least `bytes`.
char *address_in(Napi::Value value, uint64_t offset, uint64_t bytes, const char *name, BackendContext &backend,
                 Arrays &arrays) {
  const DeviceBuffer *buffer = DeviceBuffer::from(value);
  if (buffer == nullptr) {
    throw Failure{INFONCE_INVALID_ARGUMENT, std::string(name) + " must be a buffer of this context"};
  }
  const std::shared_ptr<void> &memory = buffer->memory_in(backend, name);
  if (offset > buffer->bytes() || bytes > buffer->bytes() - offset) {
    throw Failure{INFONCE_INVALID_ARGUMENT, std::string(name) + " has " + std::to_string(buffer->bytes()) +
                                                " bytes, not " + std::to_string(bytes) + " from byte " +
                                                std::to_string(offset) + " on"};
  }
  arrays.keep(memory);
  return static_cast<char *>(memory.get()) + offset;
}

}  // namespace

LossWork::LossWork(When when, BackendContext &backend, HostPool &pool, Problem problem, const Result &result)
    : Work(when, &backend, pool), backend_(backend), result_(take_outputs(result, problem.fields, arrays)) {
  take_inputs(problem, arrays);
  problem_ = problem.fields;
}

Napi::Value LossWork::finish(Napi::Env env) {
  arrays.write_scalars(result_);
  return env.Null();
}

void ForwardWork::run() {
  saved_.state = backend_.forward(problem_, result_);
  saved_.owner = &backend_;
}

Napi::Value ForwardWork::finish(Napi::Env env) {
  arrays.write_scalars(result_);
  saved_.problem = without_arrays(problem_);
  saved_.problem.gradient = 1;
  return Saved::make(env, std::move(saved_));
}

BackwardWork::BackwardWork(When when, BackendContext &backend, HostPool &pool, const SavedState &saved,
                           Napi::Value grad_output, const Result &result)
    : Work(when, &backend, pool),
      backend_(backend),
      state_(saved.state.get()),
      result_(take_outputs(result, saved.problem, arrays)) {
  arrays.keep(saved.state);
  upstream_.struct_size = sizeof(upstream_);
  upstream_.grad_output = take_grad_output(grad_output, arrays);
}

Napi::Value BackwardWork::finish(Napi::Env env) {
  arrays.write_scalars(result_);
  return env.Null();
}

ReplayWork::ReplayWork(When when, BackendContext &backend, HostPool &pool, std::shared_ptr<CapturedCall> captured,
                       const Result &result)
    : Work(when, &backend, pool),
      backend_(backend),
      graph_(captured->graph.get()),
      has_row_losses_(captured->problem.reduction == INFONCE_REDUCTION_NONE),
      result_(take_outputs(result, captured->problem, arrays)) {
  arrays.keep(std::move(captured));
}

Napi::Value ReplayWork::finish(Napi::Env env) {
  arrays.write_scalars(result_);
  return env.Null();
}

void CopyWork::set_write(Napi::Value buffer, uint64_t offset, Napi::Value source, uint64_t source_offset,
                         uint64_t bytes) {
  if (source.IsTypedArray()) {
    const Span<const void> array = arrays.bytes(source, "source");
    from_ = array.data;
    bytes_ = array.size;
  } else {
    direction_ = INFONCE_COPY_WITHIN_DEVICE;
    from_ = address_in(source, source_offset, bytes, "source", backend_, arrays);
    bytes_ = static_cast<size_t>(bytes);
  }
  char *to = address_in(buffer, offset, bytes_, "buffer", backend_, arrays);
  to_ = to;
  const char *from = static_cast<const char *>(from_);
  if (direction_ == INFONCE_COPY_WITHIN_DEVICE && from < to + bytes_ && to < from + bytes_) {
    throw Failure{INFONCE_INVALID_ARGUMENT, "source and buffer overlap"};
  }
}

void CopyWork::set_read(Napi::Value buffer, uint64_t offset, Napi::Value target) {
  const Span<void> array = arrays.target(target, "target");
  direction_ = INFONCE_COPY_FROM_DEVICE;
  to_ = array.data;
  bytes_ = array.size;
  from_ = address_in(buffer, offset, bytes_, "buffer", backend_, arrays);
}

void CopyWork::run() {
  if (bytes_ > 0) {
    backend_.copy(to_, from_, bytes_, direction_);
  }
}

}  // namespace infonce::node

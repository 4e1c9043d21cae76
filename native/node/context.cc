#include "node/context.h"

#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "node/captured.h"
#include "node/device.h"
#include "node/device_buffer.h"
#include "node/failure.h"
#include "node/group_work.h"
#include "node/job.h"
#include "node/library.h"
#include "node/pinned.h"
#include "node/values.h"

namespace infonce::node {

namespace {

int32_t read_precision(Napi::Object options) {
  return to_enumerator(
      options.Get("precision"), "precision",
      {{"highest", INFONCE_PRECISION_HIGHEST}, {"high", INFONCE_PRECISION_HIGH}, {"medium", INFONCE_PRECISION_MEDIUM}});
}

group::Gradients read_gradients(Napi::Value mean) {
  return to_flag(mean, "mean") ? group::Gradients::kMean : group::Gradients::kSum;
}

// What the constructor of a class of JavaScript's leaves on its instances: a method of another class cannot be misled by
// it, as it can by the receiver of an accessor.
void define_value(Napi::Object object, const char *name, Napi::Value value) {
  object.DefineProperty(Napi::PropertyDescriptor::Value(name, value, napi_enumerable));
}

const DeviceBuffer &to_buffer(Napi::Value value) {
  const DeviceBuffer *buffer = DeviceBuffer::from(value);
  if (buffer == nullptr) {
    throw Failure{INFONCE_INVALID_ARGUMENT, "buffer must be a buffer of this context"};
  }
  return *buffer;
}

const char *name_of(CancelOutcome cancelled) {
  switch (cancelled) {
    case CancelOutcome::kDropped:
      return "dropped";
    case CancelOutcome::kAsked:
      return "asked";
    default:
      return "unknown";
  }
}

}  // namespace

Napi::Function Context::define(Napi::Env env) {
  return DefineClass(env, "Context",
                     {InstanceMethod<&Context::run>("run"),
                      InstanceMethod<&Context::capture>("capture"),
                      InstanceMethod<&Context::replay>("replay"),
                      InstanceMethod<&Context::forward>("forward"),
                      InstanceMethod<&Context::backward>("backward"),
                      InstanceMethod<&Context::run_several>("runSeveral"),
                      InstanceMethod<&Context::write>("write"),
                      InstanceMethod<&Context::read>("read"),
                      InstanceMethod<&Context::cancel>("cancel"),
                      InstanceMethod<&Context::allocate>("allocate"),
                      InstanceMethod<&Context::wrap>("wrap"),
                      InstanceMethod<&Context::examine>("examine"),
                      InstanceMethod<&Context::export_memory>("exportMemory"),
                      InstanceMethod<&Context::import_memory>("importMemory"),
                      InstanceMethod<&Context::pinned>("pinned"),
                      InstanceMethod<&Context::result>("result"),
                      InstanceMethod<&Context::rest>("rest"),
                      InstanceMethod<&Context::memory_required>("memoryRequired"),
                      InstanceMethod<&Context::logits>("logits"),
                      InstanceMethod<&Context::trim>("trim"),
                      InstanceMethod<&Context::dispose>("dispose")});
}

Context::Context(const Napi::CallbackInfo &info) : Napi::ObjectWrap<Context>(info) {
  throwing_to_js(info.Env(), [&] { open(info.This().As<Napi::Object>(), to_object(info[0], "options")); });
}

void Context::open(Napi::Object self, Napi::Object object) {
  const infonce_backend &backend = backend_in(to_string(object.Get("library"), "library"));
  infonce_context_options options{};
  options.struct_size = sizeof(options);
  options.device = to_int32(object.Get("device"), "device");
  options.threads = to_int32(object.Get("threads"), "threads");
  options.precision = read_precision(object);
  options.measure = to_flag(object.Get("measure"), "measure");
  options.trace = to_flag(object.Get("trace"), "trace");
  const Napi::Value stream = object.Get("stream");
  if (!stream.IsUndefined()) {
    options.stream = reinterpret_cast<void *>(static_cast<uintptr_t>(to_address(stream, "stream")));
  }
  const Napi::Value forced = object.Get("instructionSet");
  const std::string forced_set = forced.IsUndefined() ? "" : to_string(forced, "instructionSet");
  options.instruction_set = forced.IsUndefined() ? nullptr : forced_set.c_str();
  auto context = std::make_shared<BackendContext>(backend, options);
  // Afterwards: which kernels the driver serves may show only when a context is made.
  const infonce_device_info device = device_info(backend, options.device);
  define_value(self, "threads", Napi::Number::New(Env(), options.threads == 0 ? device.threads : options.threads));
  define_value(self, "instructionSet",
               Napi::String::New(Env(), forced.IsUndefined() ? device.instruction_set : forced_set));
  pool_ = std::make_shared<HostPool>(HostAllocator(backend, options.device));
  queue_ = std::make_unique<Queue>();
  backend_ = std::move(context);
}

void Context::close() {
  // Its thread ends before the backend's context goes.
  queue_.reset();
  if (backend_) {
    backend_->close();
    backend_.reset();
  }
}

BackendContext &Context::backend() {
  if (!backend_) {
    throw Failure{INFONCE_INTERNAL, "the context was disposed"};
  }
  return *backend_;
}

std::unique_ptr<Work> Context::loss_work(const Napi::CallbackInfo &info, When when) {
  const Problem problem = read_problem(to_object(info[0], "problem"));
  const Result result = read_result(to_object(info[1], "result"), problem.fields, {true, true});
  if (info[3].IsUndefined()) {
    return std::make_unique<LossWork>(when, backend(), *pool_, problem, result);
  }
  return std::make_unique<GroupLossWork>(Group::from(info[3]).membership(), read_gradients(info[4]), when, backend(),
                                         *pool_, problem, result);
}

std::unique_ptr<Work> Context::several_losses_work(const Napi::CallbackInfo &info, When when) {
  const Napi::Array problem_objects = to_array(info[0], "problems"), result_objects = to_array(info[1], "results");
  std::vector<Problem> problems;
  std::vector<Result> results;
  for (uint32_t k = 0; k < problem_objects.Length(); ++k) {
    problems.push_back(read_problem(to_object(problem_objects.Get(k), "problem")));
    results.push_back(read_result(to_object(result_objects.Get(k), "result"), problems.back().fields, {true, true}));
  }
  const std::shared_ptr<Membership> &membership = Group::from(info[3]).membership();
  const group::Gradients gradients = read_gradients(info[4]);
  const Span<double> same = to_span<double>(info[5], "same");
  return std::make_unique<SeveralLossesWork>(membership, gradients, when, backend(), *pool_, std::move(problems),
                                             results, std::vector<double>(same.data, same.data + same.size));
}

std::unique_ptr<Work> Context::replay_work(const Napi::CallbackInfo &info, When when) {
  // A share of its own: JavaScript may dispose the original while the result is read.
  const std::shared_ptr<CapturedCall> captured = Captured::from(info[0], backend());
  const Result result = read_result(to_object(info[1], "result"), captured->problem, {true, false});
  return std::make_unique<ReplayWork>(when, backend(), *pool_, captured, result);
}

std::unique_ptr<Work> Context::forward_work(const Napi::CallbackInfo &info, When when) {
  const Problem problem = read_problem(to_object(info[0], "problem"));
  const Result result = read_result(to_object(info[1], "result"), problem.fields, {true, false});
  if (info[3].IsUndefined()) {
    return std::make_unique<ForwardWork>(when, backend(), *pool_, problem, result);
  }
  return std::make_unique<GroupForwardWork>(Group::from(info[3]).membership(), when, backend(), *pool_, problem,
                                            result);
}

std::unique_ptr<Work> Context::backward_work(const Napi::CallbackInfo &info, When when) {
  // A copy: JavaScript may dispose the original while the result is read.
  const SavedState saved = Saved::from(info[0], backend());
  const Result result = read_result(to_object(info[2], "result"), saved.problem, {false, true});
  const std::shared_ptr<Membership> membership = info[4].IsUndefined() ? nullptr : Group::from(info[4]).membership();
  if (saved.group != membership.get()) {
    throw Failure{INFONCE_INVALID_ARGUMENT, "the saved state is of another group, or of a call without one"};
  }
  if (membership == nullptr) {
    return std::make_unique<BackwardWork>(when, backend(), *pool_, saved, info[1], result);
  }
  return std::make_unique<GroupBackwardWork>(membership, read_gradients(info[5]), when, backend(), *pool_, saved,
                                             info[1], result);
}

std::unique_ptr<Work> Context::write_work(const Napi::CallbackInfo &info, When when) {
  const int64_t offset = to_count(info[1], "byteOffset", 0);
  const int64_t source_offset = to_count(info[3], "sourceOffset", 0);
  const int64_t bytes = to_count(info[4], "byteLength", 0);
  auto work = std::make_unique<CopyWork>(when, backend(), *pool_);
  work->set_write(info[0], static_cast<uint64_t>(offset), info[2], static_cast<uint64_t>(source_offset),
                  static_cast<uint64_t>(bytes));
  return work;
}

std::unique_ptr<Work> Context::read_work(const Napi::CallbackInfo &info, When when) {
  const int64_t offset = to_count(info[1], "byteOffset", 0);
  auto work = std::make_unique<CopyWork>(when, backend(), *pool_);
  work->set_read(info[0], static_cast<uint64_t>(offset), info[2]);
  return work;
}

Napi::Value Context::perform(const Napi::CallbackInfo &info, MakeWork make, size_t done, Napi::Value of_group) {
  return throwing_to_js(info.Env(), [&]() -> Napi::Value {
    Group *group = of_group.IsEmpty() || of_group.IsUndefined() ? nullptr : &Group::from(of_group);
    std::unique_ptr<Work> work;
    try {
      if (!info[done].IsUndefined()) {
        const Napi::Function function = to_function(info[done], "done");
        auto job = std::make_unique<Job>(Value(), function, (this->*make)(info, When::kLater));
        return Napi::Number::New(info.Env(), static_cast<double>(queue_->submit(info.Env(), std::move(job))));
      }
      work = (this->*make)(info, When::kNow);
      work->take_turn();
    } catch (...) {
      if (group != nullptr) {
        group->decline(info.Env(), current_failure().message);
      }
      throw;
    }
    queue_->drain();
    work->run();
    return work->finish(info.Env());
  });
}

Napi::Value Context::run(const Napi::CallbackInfo &info) { return perform(info, &Context::loss_work, 2, info[3]); }

Napi::Value Context::run_several(const Napi::CallbackInfo &info) {
  return perform(info, &Context::several_losses_work, 2, info[3]);
}

Napi::Value Context::capture(const Napi::CallbackInfo &info) {
  return throwing_to_js(info.Env(), [&] {
    const Problem problem = read_problem(to_object(info[0], "problem"));
    const Result result = read_result(to_object(info[1], "result"), problem.fields, {true, true});
    return Captured::make(info.Env(), backend(), *pool_, problem, result);
  });
}

Napi::Value Context::replay(const Napi::CallbackInfo &info) { return perform(info, &Context::replay_work, 2); }

Napi::Value Context::forward(const Napi::CallbackInfo &info) {
  return perform(info, &Context::forward_work, 2, info[3]);
}

Napi::Value Context::backward(const Napi::CallbackInfo &info) {
  return perform(info, &Context::backward_work, 3, info[4]);
}

Napi::Value Context::write(const Napi::CallbackInfo &info) { return perform(info, &Context::write_work, 5); }

Napi::Value Context::read(const Napi::CallbackInfo &info) { return perform(info, &Context::read_work, 3); }

Napi::Value Context::cancel(const Napi::CallbackInfo &info) {
  return throwing_to_js(info.Env(), [&]() -> Napi::Value {
    const int64_t ticket = to_count(info[0], "ticket", 0);
    backend();
    return Napi::String::New(info.Env(), name_of(queue_->cancel(info.Env(), ticket)));
  });
}

Napi::Value Context::allocate(const Napi::CallbackInfo &info) {
  return throwing_to_js(info.Env(),
                        [&] { return DeviceBuffer::make(info.Env(), backend(), to_count(info[0], "byteLength", 1)); });
}

Napi::Value Context::wrap(const Napi::CallbackInfo &info) {
  return throwing_to_js(info.Env(), [&] {
    const uint64_t address = to_address(info[0], "address");
    return DeviceBuffer::wrap(info.Env(), backend(), address, to_count(info[1], "byteLength", 1));
  });
}

void Context::examine(const Napi::CallbackInfo &info) {
  throwing_to_js(info.Env(), [&] {
    const DeviceBuffer &buffer = to_buffer(info[0]);
    backend().examine(buffer.memory_in(backend(), "buffer").get(), static_cast<int64_t>(buffer.bytes()));
  });
}

Napi::Value Context::export_memory(const Napi::CallbackInfo &info) {
  return throwing_to_js(info.Env(), [&]() -> Napi::Value {
    const infonce_memory_handle handle =
        backend().export_memory(to_buffer(info[0]).memory_in(backend(), "buffer").get());
    Napi::Uint8Array bytes = Napi::Uint8Array::New(info.Env(), sizeof(handle.bytes));
    std::memcpy(bytes.Data(), handle.bytes, sizeof(handle.bytes));
    Napi::Object exported = Napi::Object::New(info.Env());
    exported.Set("handle", bytes);
    exported.Set("byteOffset", static_cast<double>(handle.offset));
    return exported;
  });
}

Napi::Value Context::import_memory(const Napi::CallbackInfo &info) {
  return throwing_to_js(info.Env(), [&] {
    infonce_memory_handle handle{};
    handle.offset = to_count(info[1], "byteOffset", 0);
    const int64_t bytes = to_count(info[2], "byteLength", 1);
    const Span<void> given = to_bytes(info[0], "handle");
    if (given.size != sizeof(handle.bytes)) {
      throw Failure{INFONCE_INVALID_ARGUMENT, "handle must have 64 bytes"};
    }
    std::memcpy(handle.bytes, given.data, given.size);
    return DeviceBuffer::open(info.Env(), backend(), handle, bytes);
  });
}

Napi::Value Context::pinned(const Napi::CallbackInfo &info) {
  return throwing_to_js(info.Env(), [&] {
    const int64_t bytes = to_count(info[0], "byteLength", 1);
    backend();
    return new_pinned(info.Env(), pool_->allocator(), static_cast<size_t>(bytes));
  });
}

Napi::Value Context::result(const Napi::CallbackInfo &info) {
  return throwing_to_js(info.Env(), [&] {
    const int64_t bytes = to_count(info[0], "byteLength", 1);
    backend();
    return new_result(info.Env(), *pool_, static_cast<size_t>(bytes));
  });
}

void Context::rest(const Napi::CallbackInfo &info) {
  throwing_to_js(info.Env(), [&] { pool_->rest(); });
}

Napi::Value Context::memory_required(const Napi::CallbackInfo &info) {
  return throwing_to_js(info.Env(), [&]() -> Napi::Value {
    Problem problem = read_problem(to_object(info[0], "problem"));
    const auto gradients = static_cast<uint32_t>(to_int32(info[1], "gradients"));
    Arrays arrays(When::kNow, &backend(), *pool_);
    take_presence(problem, arrays);
    const infonce_memory_needs needs = backend_->memory_required(problem.fields, gradients);
    Napi::Object object = Napi::Object::New(info.Env());
    object.Set("device", static_cast<double>(needs.device));
    object.Set("available", static_cast<double>(needs.available));
    return object;
  });
}

void Context::logits(const Napi::CallbackInfo &info) {
  throwing_to_js(info.Env(), [&] {
    Problem problem = read_problem(to_object(info[0], "problem"));
    // From here on no JavaScript runs on this thread.
    Arrays arrays(When::kNow, &backend(), *pool_);
    take_inputs(problem, arrays);
    const int64_t rows = loss_rows(problem.fields);
    const infonce_output logits = arrays.result(info[1], product(rows, rows - 1), "logits");
    queue_->drain();
    backend_->logits(problem.fields, logits);
  });
}

Napi::Value Context::trim(const Napi::CallbackInfo &info) {
  return throwing_to_js(info.Env(), [&]() -> Napi::Value {
    const int64_t freed = backend().trim();
    return Napi::Number::New(info.Env(), static_cast<double>(freed) + static_cast<double>(pool_->trim()));
  });
}

void Context::dispose(const Napi::CallbackInfo &info) {
  throwing_to_js(info.Env(), [&] {
    if (queue_) {
      queue_->stop(info.Env());
    }
    if (backend_) {
      backend_->close();
      backend_.reset();
      pool_->close();
    }
  });
}

}  // namespace infonce::node

#include "node/context.h"

#include <utility>

#include "node/device.h"
#include "node/failure.h"
#include "node/job.h"
#include "node/library.h"
#include "node/problem.h"
#include "node/result.h"
#include "node/values.h"

namespace infonce::node {

namespace {

int32_t read_precision(Napi::Object options) {
  return to_enumerator(options.Get("precision"), "precision",
                       {{"highest", INFONCE_PRECISION_HIGHEST},
                        {"high", INFONCE_PRECISION_HIGH},
                        {"medium", INFONCE_PRECISION_MEDIUM}});
}

}  // namespace

Napi::Function Context::define(Napi::Env env) {
  return DefineClass(env, "Context",
                     {InstanceAccessor<&Context::threads>("threads"),
                      InstanceAccessor<&Context::instruction_set>("instructionSet"),
                      InstanceMethod<&Context::run>("run"), InstanceMethod<&Context::submit>("submit"),
                      InstanceMethod<&Context::cancel>("cancel"), InstanceMethod<&Context::logits>("logits"),
                      InstanceMethod<&Context::dispose>("dispose")});
}

Context::Context(const Napi::CallbackInfo &info) : Napi::ObjectWrap<Context>(info) {
  guarded(info.Env(), [&] { open(to_object(info[0], "options")); });
}

void Context::open(Napi::Object object) {
  const infonce_backend &backend = backend_in(to_string(object.Get("library"), "library"));
  infonce_context_options options{};
  options.struct_size = sizeof(options);
  options.device = to_int32(object.Get("device"), "device");
  options.threads = to_int32(object.Get("threads"), "threads");
  options.precision = read_precision(object);
  options.measure = to_flag(object.Get("measure"), "measure");
  const infonce_device_info device = device_info(backend, options.device);
  const Napi::Value forced = object.Get("instructionSet");
  instruction_set_ = forced.IsUndefined() ? device.instruction_set : to_string(forced, "instructionSet");
  options.instruction_set = instruction_set_.c_str();
  threads_ = options.threads == 0 ? device.threads : options.threads;
  backend_ = std::make_unique<BackendContext>(backend, options);
  queue_ = std::make_unique<Queue>(*backend_);
}

BackendContext &Context::backend() {
  if (!backend_) {
    throw Failure{INFONCE_INTERNAL, "the context was disposed"};
  }
  return *backend_;
}

void Context::attach_inputs(Problem &problem) {
  Inputs inputs = take_inputs(problem);
  if (inputs.labels.data != nullptr) {
    labels_.assign(inputs.labels.data, inputs.labels.data + inputs.labels.size);
    inputs.labels.data = labels_.data();
  }
  inputs.attach(problem.fields);
}

Napi::Value Context::threads(const Napi::CallbackInfo &info) { return Napi::Number::New(info.Env(), threads_); }

Napi::Value Context::instruction_set(const Napi::CallbackInfo &info) {
  return Napi::String::New(info.Env(), instruction_set_);
}

void Context::run(const Napi::CallbackInfo &info) {
  guarded(info.Env(), [&] {
    Problem problem = read_problem(to_object(info[0], "problem"));
    const Result result = read_result(to_object(info[1], "result"), problem);
    // From here on no JavaScript runs on this thread.
    BackendContext &backend = this->backend();
    attach_inputs(problem);
    const Outputs outputs = take_outputs(result, problem);
    infonce_result fields = outputs.fields();
    backend.run(problem.fields, fields);
    write_scalars(fields, outputs.scalars);
  });
}

Napi::Value Context::submit(const Napi::CallbackInfo &info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const Problem problem = read_problem(to_object(info[0], "problem"));
    const Result result = read_result(to_object(info[1], "result"), problem);
    if (!info[2].IsFunction()) {
      throw Failure{INFONCE_INVALID_ARGUMENT, "done must be a function"};
    }
    // From here on no JavaScript runs on this thread.
    backend();
    auto job = std::make_unique<Job>(Value(), problem, result, info[2].As<Napi::Function>());
    return Napi::Number::New(info.Env(), static_cast<double>(queue_->submit(info.Env(), std::move(job))));
  });
}

Napi::Value Context::cancel(const Napi::CallbackInfo &info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const int64_t ticket = to_count(info[0], "ticket", 0);
    return Napi::String::New(info.Env(), queue_->cancel(info.Env(), ticket) ? "dropped" : "unknown");
  });
}

void Context::logits(const Napi::CallbackInfo &info) {
  guarded(info.Env(), [&] {
    Problem problem = read_problem(to_object(info[0], "problem"));
    // From here on no JavaScript runs on this thread.
    BackendContext &backend = this->backend();
    attach_inputs(problem);
    const int64_t size = product(problem.fields.rows, problem.fields.rows - 1);
    backend.logits(problem.fields, to_span_of<float>(info[1], size, "logits").data);
  });
}

void Context::dispose(const Napi::CallbackInfo &info) {
  guarded(info.Env(), [&] {
    queue_->stop(info.Env());
    backend_.reset();
  });
}

}  // namespace infonce::node

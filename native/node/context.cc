#include "node/context.h"

#include <limits>
#include <utility>

#include "node/device.h"
#include "node/failure.h"
#include "node/job.h"
#include "node/problem.h"
#include "node/result.h"
#include "node/values.h"

namespace infonce::node {

namespace {

int32_t read_threads(Napi::Object options) {
  const int64_t threads = to_count(options.Get("threads"), "threads", 0);
  if (threads > std::numeric_limits<int32_t>::max()) {
    throw Failure{INFONCE_INVALID_ARGUMENT, "threads is too large"};
  }
  return static_cast<int32_t>(threads);
}

int32_t read_precision(Napi::Object options) {
  return to_enumerator(options.Get("precision"), "precision",
                       {{"highest", INFONCE_PRECISION_HIGHEST},
                        {"high", INFONCE_PRECISION_HIGH},
                        {"medium", INFONCE_PRECISION_MEDIUM}});
}

std::string read_instruction_set(Napi::Object options, const infonce_device_info &device) {
  const Napi::Value value = options.Get("instructionSet");
  if (value.IsUndefined()) {
    return device.instruction_set;
  }
  if (!value.IsString()) {
    throw Failure{INFONCE_INVALID_ARGUMENT, "instructionSet must be a string"};
  }
  return value.As<Napi::String>();
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
  const infonce_device_info device = cpu_device_info();
  infonce_context_options options{};
  options.struct_size = sizeof(options);
  options.threads = read_threads(object);
  options.precision = read_precision(object);
  instruction_set_ = read_instruction_set(object, device);
  options.instruction_set = instruction_set_.c_str();
  threads_ = options.threads == 0 ? device.threads : options.threads;
  backend_ = std::make_unique<BackendContext>(*infonce_cpu_backend(), options);
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
    return Napi::Boolean::New(info.Env(), queue_->cancel(info.Env(), ticket));
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

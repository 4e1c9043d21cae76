#include "node/device_buffer.h"

#include <string>
#include <utility>

#include "node/classes.h"
#include "node/failure.h"

namespace infonce::node {

namespace {

constexpr napi_type_tag kTag = {0x6d1f0a52c7b94e38, 0x9e5d31f8a2c64b07};

// What the constructor is to take over; null when it is JavaScript that calls it.
struct Fresh {
  std::shared_ptr<void> memory;
  const BackendContext *owner;
  int64_t bytes;
};
thread_local Fresh *fresh = nullptr;

}  // namespace

Napi::Function DeviceBuffer::define(Napi::Env env) {
  return DefineClass(env, "Buffer", {InstanceMethod<&DeviceBuffer::dispose>("dispose")});
}

Napi::Value DeviceBuffer::make(Napi::Env env, BackendContext &backend, int64_t bytes) {
  Fresh content{backend.allocate(bytes), &backend, bytes};
  fresh = &content;
  try {
    const Napi::Object object = Classes::of(env).device_buffer.New({});
    fresh = nullptr;
    return object;
  } catch (...) {
    fresh = nullptr;
    throw;
  }
}

DeviceBuffer *DeviceBuffer::from(Napi::Value value) {
  return has_tag(value, kTag) ? Unwrap(value.As<Napi::Object>()) : nullptr;
}

DeviceBuffer::DeviceBuffer(const Napi::CallbackInfo &info) : Napi::ObjectWrap<DeviceBuffer>(info) {
  throwing_to_js(info.Env(), [&] {
    Fresh *content = std::exchange(fresh, nullptr);
    if (content == nullptr) {
      throw Failure{INFONCE_INVALID_ARGUMENT, "buffers are made by the allocate method of a context"};
    }
    Napi::Object object = info.This().As<Napi::Object>();
    object.TypeTag(&kTag);
    object.DefineProperty(Napi::PropertyDescriptor::Value(
        "byteLength", Napi::Number::New(info.Env(), static_cast<double>(content->bytes))));
    memory_ = std::move(content->memory);
    owner_ = content->owner;
    bytes_ = content->bytes;
    Napi::MemoryManagement::AdjustExternalMemory(info.Env(), bytes_);
  });
}

void DeviceBuffer::Finalize(Napi::BasicEnv env) { free(env); }

const std::shared_ptr<void> &DeviceBuffer::memory_in(const BackendContext &backend, const char *name) const {
  if (memory_ == nullptr) {
    throw Failure{INFONCE_INVALID_ARGUMENT, std::string(name) + " is a buffer that was disposed"};
  }
  if (owner_ != &backend) {
    throw Failure{INFONCE_INVALID_ARGUMENT, std::string(name) + " is a buffer of another context"};
  }
  return memory_;
}

void DeviceBuffer::dispose(const Napi::CallbackInfo &info) { free(info.Env()); }

void DeviceBuffer::free(Napi::BasicEnv env) {
  if (memory_ != nullptr) {
    memory_.reset();
    Napi::MemoryManagement::AdjustExternalMemory(env, -bytes_);
  }
}

}  // namespace infonce::node

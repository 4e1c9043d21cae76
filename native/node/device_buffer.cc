#include "node/device_buffer.h"

#include <string>
#include <utility>

#include "node/classes.h"
#include "node/failure.h"

namespace infonce::node {

namespace {

constexpr napi_type_tag kTag = {0x6d1f0a52c7b94e38, 0x9e5d31f8a2c64b07};

// What the constructor is to take over, a DeviceBuffer::Fresh; null when it is JavaScript that calls it.
thread_local void *fresh = nullptr;

}  // namespace

struct DeviceBuffer::Fresh {
  std::shared_ptr<void> memory;
  const BackendContext *owner;
  int64_t bytes, charged;
};

Napi::Function DeviceBuffer::define(Napi::Env env) {
  return DefineClass(
      env, "Buffer",
      {InstanceMethod<&DeviceBuffer::address>("address"), InstanceMethod<&DeviceBuffer::dispose>("dispose")});
}

Napi::Value DeviceBuffer::make(Napi::Env env, BackendContext &backend, int64_t bytes) {
  return make(env, {backend.allocate(bytes), &backend, bytes, bytes});
}

Napi::Value DeviceBuffer::wrap(Napi::Env env, BackendContext &backend, uint64_t address, int64_t bytes) {
  void *const memory = reinterpret_cast<void *>(static_cast<uintptr_t>(address));
  backend.examine(memory, bytes);
  return make(env, {std::shared_ptr<void>(memory, [](void *) {}), &backend, bytes, 0});
}

Napi::Value DeviceBuffer::open(Napi::Env env, BackendContext &backend, const infonce_memory_handle &handle,
                               int64_t bytes) {
  return make(env, {backend.open_memory(handle, bytes), &backend, bytes, 0});
}

Napi::Value DeviceBuffer::make(Napi::Env env, Fresh content) {
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
    Fresh *content = static_cast<Fresh *>(std::exchange(fresh, nullptr));
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
    charged_ = content->charged;
    Napi::MemoryManagement::AdjustExternalMemory(info.Env(), charged_);
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

Napi::Value DeviceBuffer::address(const Napi::CallbackInfo &info) {
  return Napi::BigInt::New(info.Env(), static_cast<uint64_t>(reinterpret_cast<uintptr_t>(memory_.get())));
}

void DeviceBuffer::dispose(const Napi::CallbackInfo &info) { free(info.Env()); }

void DeviceBuffer::free(Napi::BasicEnv env) {
  if (memory_ != nullptr) {
    memory_.reset();
    Napi::MemoryManagement::AdjustExternalMemory(env, -charged_);
  }
}

}  // namespace infonce::node

#include <napi.h>

#include <cstring>

#include "infonce/infonce.h"
#include "node/classes.h"
#include "node/context.h"
#include "node/device.h"
#include "node/failure.h"
#include "node/group.h"
#include "node/limits.h"
#include "node/library.h"
#include "node/membership.h"
#include "node/values.h"

namespace infonce::node {

namespace {

void load_library(const Napi::CallbackInfo &info) {
  throwing_to_js(info.Env(), [&] { shared_backend(to_string(info[0], "library")); });
}

Napi::Value export_device_count(const Napi::CallbackInfo &info) {
  return throwing_to_js(info.Env(), [&] {
    return Napi::Number::New(info.Env(), device_count(backend_in(to_string(info[0], "library"))));
  });
}

Napi::Value export_device(const Napi::CallbackInfo &info) {
  return throwing_to_js(info.Env(), [&] {
    const infonce_backend &backend = backend_in(to_string(info[0], "library"));
    return to_native_device(info.Env(), device_info(backend, to_int32(info[1], "device")));
  });
}

Napi::Value export_nccl_unique_id(const Napi::CallbackInfo &info) {
  return throwing_to_js(info.Env(), [&] {
    const nccl::UniqueId id = new_nccl_id(to_string(info[0], "library"));
    Napi::Uint8Array bytes = Napi::Uint8Array::New(info.Env(), sizeof(id.bytes));
    std::memcpy(bytes.Data(), id.bytes, sizeof(id.bytes));
    return bytes;
  });
}

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  Classes::define(env);
  exports.Set("abiVersion", INFONCE_ABI_VERSION);
  exports.Set("loadLibrary", Napi::Function::New<load_library>(env, "loadLibrary"));
  exports.Set("deviceCount", Napi::Function::New<export_device_count>(env, "deviceCount"));
  exports.Set("device", Napi::Function::New<export_device>(env, "device"));
  exports.Set("ncclUniqueId", Napi::Function::New<export_nccl_unique_id>(env, "ncclUniqueId"));
  exports.Set("Context", Context::define(env));
  exports.Set("Group", Group::define(env));
  export_limits(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(infonce, initialize)

}  // namespace infonce::node

#include <napi.h>

#include "infonce/infonce.h"
#include "node/context.h"
#include "node/device.h"
#include "node/failure.h"

namespace infonce::node {

namespace {

Napi::Value export_cpu_device(const Napi::CallbackInfo &info) {
  return guarded(info.Env(), [&] { return cpu_device(info.Env()); });
}

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  exports.Set("abiVersion", INFONCE_ABI_VERSION);
  exports.Set("cpuDevice", Napi::Function::New<export_cpu_device>(env, "cpuDevice"));
  exports.Set("Context", Context::define(env));
  return exports;
}

}  // namespace

NODE_API_MODULE(infonce, initialize)

}  // namespace infonce::node

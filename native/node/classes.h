#pragma once

#include <napi.h>

namespace infonce::node {

// The JavaScript classes whose instances the addon makes itself, one set for each environment.
struct Classes {
  Napi::FunctionReference captured;
  Napi::FunctionReference device_buffer;
  Napi::FunctionReference saved;

  // Defines them for an environment, which keeps them.
  static void define(Napi::Env env);
  static const Classes &of(Napi::Env env) { return *env.GetInstanceData<Classes>(); }
};

// Whether `value` is an object with this tag: an instance of one class of this addon, whatever its prototype says.
inline bool has_tag(Napi::Value value, const napi_type_tag &tag) {
  return value.IsObject() && value.As<Napi::Object>().CheckTypeTag(&tag);
}

}  // namespace infonce::node

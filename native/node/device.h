#pragma once

#include <napi.h>

#include "infonce/infonce.h"

namespace infonce::node {

// What the CPU backend says of this machine. Throws a Failure.
infonce_device_info cpu_device_info();

// The same as a `NativeDevice` of lib/runtime/binding.ts.
Napi::Object cpu_device(Napi::Env env);

}  // namespace infonce::node

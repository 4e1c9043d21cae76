#pragma once

#include <napi.h>

#include "infonce/infonce.h"

namespace infonce::node {

// How many devices a backend has. Throws a Failure with the backend's reason when it can have none.
int32_t device_count(const infonce_backend &backend);

// What a backend says of one of its devices. Throws a Failure when the device cannot be used.
infonce_device_info device_info(const infonce_backend &backend, int32_t device);

// The same as a `NativeDevice` of lib/runtime/binding.ts.
Napi::Object to_native_device(Napi::Env env, const infonce_device_info &info);

}  // namespace infonce::node

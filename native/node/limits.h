#pragma once

#include <napi.h>

namespace infonce::node {

// Adds the measurements of `NativeLimits` in lib/runtime/binding.ts to the addon's exports.
void export_limits(Napi::Env env, Napi::Object exports);

}  // namespace infonce::node

#pragma once

#include <napi.h>

#include <cstddef>
#include <memory>

#include "node/host_memory.h"

namespace infonce::node {

// An ArrayBuffer of zeros in memory that devices copy to and from directly. The memory stays until neither JavaScript nor a
// job uses it. Where Node.js allows no foreign memory in an ArrayBuffer, it is an ordinary one.
Napi::Value new_pinned(Napi::Env env, const HostAllocator &allocator, size_t bytes);

// The same of memory that other results had before it, of any content, and goes to later ones; undefined where it had
// better be an ordinary one. Jobs write it where it is.
Napi::Value new_result(Napi::Env env, HostPool &pool, size_t bytes);

// A share in the pinned memory that holds [data, data + bytes), null if none does. Any thread of any environment may ask.
std::shared_ptr<void> pinned_memory_at(const void *data, size_t bytes);

}  // namespace infonce::node

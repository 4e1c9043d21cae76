#pragma once

#include <napi.h>

#include <cstdint>
#include <memory>

#include "node/backend_context.h"

namespace infonce::node {

// `NativeBuffer` of lib/runtime/binding.ts. Jobs hold the memory itself, so that they need it no longer.
class DeviceBuffer : public Napi::ObjectWrap<DeviceBuffer> {
 public:
  static Napi::Function define(Napi::Env env);

  // A new one with fresh memory.
  static Napi::Value make(Napi::Env env, BackendContext &backend, int64_t bytes);

  // One for memory that somebody else owns, of the context's device. Throws a Failure that says what it is instead.
  static Napi::Value wrap(Napi::Env env, BackendContext &backend, uint64_t address, int64_t bytes);

  // One in memory of another process. Throws a Failure where the handle does not open.
  static Napi::Value open(Napi::Env env, BackendContext &backend, const infonce_memory_handle &handle, int64_t bytes);

  // What `value` wraps; null if it is no buffer.
  static DeviceBuffer *from(Napi::Value value);

  // Called by `make` alone; JavaScript gets an error.
  explicit DeviceBuffer(const Napi::CallbackInfo &info);
  void Finalize(Napi::BasicEnv env) override;

  // The memory, which must belong to this context. Throws a Failure, which calls the buffer `name`, if it was disposed or
  // is another's.
  const std::shared_ptr<void> &memory_in(const BackendContext &backend, const char *name) const;
  uint64_t bytes() const { return static_cast<uint64_t>(bytes_); }

 private:
  struct Fresh;
  static Napi::Value make(Napi::Env env, Fresh content);

  Napi::Value address(const Napi::CallbackInfo &info);
  void dispose(const Napi::CallbackInfo &info);
  void free(Napi::BasicEnv env);

  std::shared_ptr<void> memory_;
  const BackendContext *owner_ = nullptr;
  int64_t bytes_ = 0;
  int64_t charged_ = 0;  // to the garbage collector
};

}  // namespace infonce::node

#include "node/pinned.h"

#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "node/failure.h"

namespace infonce::node {

namespace {

// What is pinned in this process, by its first byte. An ArrayBuffer may be transferred to another thread, so that every
// environment has to know it.
class Registry {
 public:
  void add(const std::shared_ptr<void> &memory, size_t bytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
    ranges_.emplace(memory.get(), Range{memory, bytes});
  }

  void remove(const void *memory) noexcept {
    std::shared_ptr<void> last;  // released after the lock
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto range = ranges_.find(memory);
    if (range != ranges_.end()) {
      last = std::move(range->second.memory);
      ranges_.erase(range);
    }
  }

  std::shared_ptr<void> find(const void *data, size_t bytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
    auto range = ranges_.upper_bound(data);
    if (range == ranges_.begin()) {
      return nullptr;
    }
    --range;
    const auto offset = static_cast<size_t>(static_cast<const char *>(data) - static_cast<const char *>(range->first));
    const size_t size = range->second.bytes;
    return offset <= size && bytes <= size - offset ? range->second.memory : nullptr;
  }

 private:
  struct Range {
    std::shared_ptr<void> memory;
    size_t bytes;
  };

  std::mutex mutex_;
  std::map<const void *, Range, std::less<>> ranges_;
};

// Never destroyed: other threads may use it while the process exits.
Registry &registry() {
  static auto &instance = *new Registry;
  return instance;
}

// An ArrayBuffer of the memory, which is registered until it is collected. Empty where Node.js allows no foreign memory in
// one.
Napi::Value array_buffer_of(Napi::Env env, const std::shared_ptr<void> &memory, size_t bytes) {
  registry().add(memory, bytes);
  napi_value buffer = nullptr;
  const napi_status status = napi_create_external_arraybuffer(
      env, memory.get(), bytes, [](napi_env, void *data, void *) { registry().remove(data); }, nullptr, &buffer);
  if (status == napi_ok) {
    return {env, buffer};
  }
  registry().remove(memory.get());
  if (status == napi_no_external_buffers_allowed) {
    return {};
  }
  const Napi::Error error = Napi::Error::New(env);
  throw Failure{INFONCE_OUT_OF_MEMORY,
                "no ArrayBuffer can have " + std::to_string(bytes) + " bytes here: " + error.Message()};
}

}  // namespace

Napi::Value new_pinned(Napi::Env env, const HostAllocator &allocator, size_t bytes) {
  const std::shared_ptr<void> memory(allocator.allocate(bytes), [allocator](void *data) { allocator.release(data); });
  const Napi::Value buffer = array_buffer_of(env, memory, bytes);
  if (buffer.IsEmpty()) {
    return Napi::ArrayBuffer::New(env, bytes);
  }
  // Only now, because it takes a while. V8 counts the memory itself.
  std::memset(memory.get(), 0, bytes);
  return buffer;
}

Napi::Value new_result(Napi::Env env, HostPool &pool, size_t bytes) {
  std::shared_ptr<void> memory;
  try {
    memory = pool.take_for_result(bytes);
  } catch (const Failure &) {
    // Page-locked memory may be short where other memory is not.
  }
  const Napi::Value buffer = memory ? array_buffer_of(env, memory, bytes) : Napi::Value();
  return buffer.IsEmpty() ? env.Undefined() : buffer;
}

std::shared_ptr<void> pinned_memory_at(const void *data, size_t bytes) { return registry().find(data, bytes); }

}  // namespace infonce::node

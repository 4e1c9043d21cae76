// Memory and streams of other libraries are told by what the driver says of them, with a fake CUDA runtime.
#include <doctest/doctest.h>

#include <cstdint>
#include <string>

#include "test/context.h"
#include "test/fake_cuda_runtime.h"

namespace infonce::test {

namespace {

constexpr int kHost = 1, kDevice = 2, kManaged = 3;  // of cudaMemoryType
constexpr int64_t kBytes = 6 << 20;

struct ResetRuntime {
  ResetRuntime() { reset_fake_runtime(); }
  ~ResetRuntime() { reset_fake_runtime(); }
};

// Memory of another context, for which it is another library's.
class Memory {
 public:
  explicit Memory(const Context &owner) : owner_(owner) {
    infonce_failure failure = empty_failure();
    void *memory = nullptr;
    REQUIRE_MESSAGE(backend().allocate(owner.handle(), kBytes, &memory, &failure) == INFONCE_OK, failure.message);
    begin = static_cast<char *>(memory);
  }
  ~Memory() { backend().release(owner_.handle(), begin); }
  Memory(const Memory &) = delete;
  Memory &operator=(const Memory &) = delete;

  char *begin;

 private:
  const Context &owner_;
};

// What it is said to be instead of memory of the device; empty if it is.
std::string refusal_of(const Context &context, const void *memory, int64_t bytes) {
  infonce_failure failure = empty_failure();
  const infonce_status status = backend().examine(context.handle(), memory, bytes, &failure);
  CHECK((status == INFONCE_OK || status == INFONCE_INVALID_ARGUMENT));
  CHECK((status == INFONCE_OK) == (failure.message[0] == 0));
  return failure.message;
}

bool contains(const std::string &text, const std::string &part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("memory of another library is examined from its first to its last byte") {
  const ResetRuntime reset_runtime;
  const Context owner("sm80", INFONCE_PRECISION_HIGHEST, 1), context("sm80", INFONCE_PRECISION_HIGHEST, 1);
  const Memory memory(owner);
  const auto refusal = [&](const void *from, int64_t bytes) { return refusal_of(context, from, bytes); };
  CHECK(refusal(memory.begin, kBytes) == "");
  CHECK(refusal(memory.begin + 12, kBytes - 12) == "");
  CHECK(contains(refusal(memory.begin, kBytes + 1), "has " + std::to_string(kBytes) + " bytes"));
  CHECK(contains(refusal(memory.begin + 4, kBytes), "has " + std::to_string(kBytes - 4) + " bytes"));
  CHECK(contains(refusal(nullptr, 4), "null"));
  CHECK(contains(refusal(reinterpret_cast<void *>(UINTPTR_MAX - 3), 64), "end of all addresses"));
  CHECK(contains(refusal(&memory, 4), "host"));
  infonce_failure failure = empty_failure();
  CHECK(backend().examine(context.handle(), memory.begin, -1, &failure) == INFONCE_INVALID_ARGUMENT);

  set_memory(kDevice, 3);
  CHECK(contains(refusal(memory.begin, 4), "memory of cuda:3, where the context is on cuda:0"));
  set_memory(kHost, 0);
  CHECK(contains(refusal(memory.begin, 4), "page-locked memory of the host"));
  set_memory(kManaged, 3);
  CHECK(refusal(memory.begin, kBytes) == "");
}

TEST_CASE("an allocation that was mapped in pieces is as long as all of them") {
  const ResetRuntime reset_runtime;
  const Context context("sm80", INFONCE_PRECISION_HIGHEST, 1);
  const Memory memory(context);
  set_mapped_pieces(2 << 20);
  CHECK(refusal_of(context, memory.begin, kBytes) == "");
  CHECK(refusal_of(context, memory.begin + (3 << 20), kBytes - (3 << 20)) == "");
  CHECK(contains(refusal_of(context, memory.begin, kBytes + 4), "has " + std::to_string(kBytes) + " bytes"));
}

TEST_CASE("a pointer that the driver does not take is refused, and a fault loses the device") {
  const ResetRuntime reset_runtime;
  const Context context("sm80", INFONCE_PRECISION_HIGHEST, 1);
  const Memory memory(context);
  set_error("cudaPointerGetAttributes", 1);
  CHECK(contains(refusal_of(context, memory.begin, 4), "invalid argument"));
  set_error("cudaPointerGetAttributes", 700);
  infonce_failure failure = empty_failure();
  CHECK(backend().examine(context.handle(), memory.begin, 4, &failure) == INFONCE_DEVICE_LOST);
}

TEST_CASE("a handle is that of the allocation, and opens what it names") {
  const ResetRuntime reset_runtime;
  const Context context("sm80", INFONCE_PRECISION_HIGHEST, 1);
  const Memory memory(context);
  infonce_failure failure = empty_failure();
  infonce_memory_handle handle{};
  REQUIRE(backend().export_memory(context.handle(), memory.begin + 8, &handle, &failure) == INFONCE_OK);
  CHECK(handle.offset == 8);
  void *opened = nullptr, *found = nullptr;
  const auto open = [&](int64_t bytes) {
    failure = empty_failure();
    return backend().open_memory(context.handle(), &handle, bytes, &opened, &found, &failure);
  };
  REQUIRE_MESSAGE(open(kBytes - 8) == INFONCE_OK, failure.message);
  CHECK(opened == memory.begin);
  CHECK(found == memory.begin + 8);
  CHECK(calls_of("cudaIpcCloseMemHandle") == 0);
  backend().close_memory(context.handle(), opened);
  CHECK(calls_of("cudaIpcCloseMemHandle") == 1);

  CHECK(open(kBytes) == INFONCE_INVALID_ARGUMENT);
  CHECK(contains(failure.message, "bytes"));
  CHECK(opened == nullptr);
  CHECK(calls_of("cudaIpcCloseMemHandle") == 1);
  // What a process is told of a handle of its own.
  set_error("cudaIpcOpenMemHandle", 201);
  CHECK(open(4) == INFONCE_INVALID_ARGUMENT);
  CHECK(contains(failure.message, "opening a handle"));
  set_error("cudaIpcGetMemHandle", 1);
  CHECK(backend().export_memory(context.handle(), memory.begin, &handle, &failure) == INFONCE_INVALID_ARGUMENT);
  CHECK(contains(failure.message, "making a handle"));
  CHECK(refusal_of(context, memory.begin, 4) == "");
}

TEST_CASE("a stream is recorded in before a context takes it") {
  const ResetRuntime reset_runtime;
  int of_nothing = 0;
  infonce_context_options options{};
  options.struct_size = sizeof(options);
  options.stream = &of_nothing;
  infonce_failure failure = empty_failure();
  infonce_context *context = nullptr;
  set_error("cudaEventRecord", 400);
  CHECK(backend().context_create(&options, &context, &failure) == INFONCE_INVALID_ARGUMENT);
  CHECK(context == nullptr);
  CHECK(contains(failure.message, "no stream of this device"));
  set_error("cudaEventRecord", 700);
  CHECK(backend().context_create(&options, &context, &failure) == INFONCE_DEVICE_UNAVAILABLE);
}

}  // namespace infonce::test

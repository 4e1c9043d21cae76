// memory_required of the CPU backend against every allocation of a call.
#include <doctest/doctest.h>

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <string>

#include "test/case.h"
#include "test/context.h"
#include "test/forms.h"

namespace {

std::atomic<int64_t> live{0};
std::atomic<int64_t> peak{0};

void note_peak() {
  const int64_t now = live;
  for (int64_t most = peak; now > most && !peak.compare_exchange_weak(most, now);) {
  }
}

void count(int64_t bytes) {
  live += bytes;
  note_peak();
}

// The size is stored right before the memory.
void *take(size_t bytes, size_t alignment) noexcept {
  const size_t room = (bytes + alignment - 1) / alignment * alignment + alignment;
  auto *memory = static_cast<std::byte *>(std::aligned_alloc(alignment, room));
  if (!memory) {
    return nullptr;
  }
  memory += alignment;
  reinterpret_cast<size_t *>(memory)[-1] = bytes;
  count(static_cast<int64_t>(bytes));
  return memory;
}

void give_back(void *memory, size_t alignment) noexcept {
  if (memory) {
    count(-static_cast<int64_t>(static_cast<size_t *>(memory)[-1]));
    std::free(static_cast<std::byte *>(memory) - alignment);
  }
}

void *take_or_throw(size_t bytes, size_t alignment) {
  if (void *memory = take(bytes, alignment)) {
    return memory;
  }
  throw std::bad_alloc();
}

constexpr size_t kAlignment = 16;

}  // namespace

void *operator new(size_t bytes) { return take_or_throw(bytes, kAlignment); }
void *operator new(size_t bytes, std::align_val_t alignment) { return take_or_throw(bytes, size_t(alignment)); }
void *operator new(size_t bytes, std::align_val_t alignment, const std::nothrow_t &) noexcept {
  return take(bytes, size_t(alignment));
}
void operator delete(void *memory) noexcept { give_back(memory, kAlignment); }
void operator delete(void *memory, size_t) noexcept { give_back(memory, kAlignment); }
void operator delete(void *memory, std::align_val_t alignment) noexcept { give_back(memory, size_t(alignment)); }

// A mapping is counted after its spare ends were unmapped, which happens before anything else is allocated or freed.
extern "C" void *mmap(void *at, size_t bytes, int protection, int flags, int file, off_t offset) noexcept {
  note_peak();
  const auto mapping = syscall(SYS_mmap, at, bytes, protection, flags, file, offset);
  if (mapping != -1) {
    live += static_cast<int64_t>(bytes);
  }
  return reinterpret_cast<void *>(mapping);
}

extern "C" int munmap(void *at, size_t bytes) noexcept {
  live -= static_cast<int64_t>(bytes);
  return static_cast<int>(syscall(SYS_munmap, at, bytes));
}

namespace infonce::test {

namespace {

infonce_memory_needs needs_of(const Context &context, const infonce_problem &problem, bool grad_negatives) {
  infonce_memory_needs needs{};
  needs.struct_size = sizeof(needs);
  const uint32_t left_out = grad_negatives ? 0 : uint32_t(1) << kNegatives;
  needs.gradients = ~left_out;
  infonce_failure failure = empty_failure();
  const infonce_status status = backend().memory_required(context.handle(), &problem, &needs, &failure);
  REQUIRE_MESSAGE(status == INFONCE_OK, failure.message);
  return needs;
}

// With kUpper the values of the input decide between schemes, and the call may take less than the most that it could.
enum class Bound { kExact, kUpper };

void check_case(const Settings &settings, bool grad_negatives, Bound bound) {
  INFO(describe(settings));
  CAPTURE(grad_negatives);
  const Case problem(settings);
  Output output(problem);
  if (!grad_negatives) {
    output.result.gradients[kNegatives].data = nullptr;
  }
  const int64_t needed = [&] {
    const Context context(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 2);
    return needs_of(context, problem.problem, grad_negatives).device;
  }();
  const Context context(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 2);
  const int64_t before = live;
  peak = before;
  infonce_failure failure = empty_failure();
  REQUIRE_MESSAGE(context.run(problem.problem, output.result, failure) == INFONCE_OK, failure.message);
  note_peak();
  const int64_t taken = peak - before;
  // Headers, lists of tasks and the like.
  const int64_t aside = 16'384 + 32 * (settings.rows + settings.negative_rows);
  CHECK(taken <= needed + aside);
  if (bound == Bound::kExact) {
    CHECK(taken >= needed);
  }
  CHECK(needs_of(context, problem.problem, grad_negatives).device == needed);
}

}  // namespace

TEST_CASE("memory_required is what a call allocates") {
  for (const Loss loss : kLosses) {
    for (const int64_t rows : {4, 300, 3000}) {
      for (const bool gradient : {true, false}) {
        Settings settings;
        settings.loss = loss;
        settings.rows = rows;
        settings.dim = 130;
        settings.negative_rows = loss == Loss::kInfoNcePaired ? 5 : 700;
        settings.gradient = gradient;
        check_case(settings, true, Bound::kExact);
        check_case(settings, false, Bound::kExact);
        settings.ranks = false;
        check_case(settings, true, Bound::kExact);
        settings.temperature = 0.001;
        check_case(settings, true, Bound::kExact);
        settings.temperature = 0.011;
        check_case(settings, true, Bound::kUpper);
        settings.normalize = false;
        check_case(settings, true, Bound::kUpper);
      }
    }
  }
}

TEST_CASE("memory_required is what a call of more tiles than are kept allocates") {
  for (const Loss loss : {Loss::kNtXentAll, Loss::kInfoNceUnpaired, Loss::kSupConMemory}) {
    Settings settings;
    settings.loss = loss;
    settings.rows = 9000;
    settings.dim = 3;
    settings.negative_rows = 9000;
    check_case(settings, true, Bound::kExact);
    check_case(settings, false, Bound::kExact);
  }
}

// Which rows and biases there are decides how a form is computed.
TEST_CASE("memory_required is enough for any form") {
  for (uint32_t seed = 8000; seed < 8060; ++seed) {
    Form form = random_form(seed);
    form.rows *= 12;
    form.keys *= 12;
    form.memory *= 12;
    for (int64_t &rows : form.further) {
      rows *= seed % 2 == 0 ? 12 : 1;
    }
    form.grad_output_count = 0;
    INFO(describe(form));
    const Inputs inputs = inputs_of(form);
    Output output(inputs);
    const Context context(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 2);
    infonce_memory_needs needs{};
    needs.struct_size = sizeof(needs);
    needs.gradients = ~inputs.unwanted;
    infonce_failure failure = empty_failure();
    REQUIRE(backend().memory_required(context.handle(), &inputs.problem, &needs, &failure) == INFONCE_OK);
    const int64_t before = live;
    peak = before;
    REQUIRE_MESSAGE(context.run(inputs.problem, output.result, failure) == INFONCE_OK, failure.message);
    note_peak();
    int64_t all_rows = 0;
    for (const infonce_matrix &matrix : inputs.problem.matrices) {
      all_rows += matrix.rows;
    }
    CHECK(peak - before <= needs.device + 16'384 + 32 * all_rows);
  }
}

TEST_CASE("memory_required is less without the gradient of the negatives") {
  Settings settings;
  settings.loss = Loss::kInfoNceUnpaired;
  settings.rows = 6000;
  settings.dim = 50;
  settings.negative_rows = 6000;
  const Case problem(settings);
  const Context context(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 2);
  const int64_t with = needs_of(context, problem.problem, true).device;
  const int64_t without = needs_of(context, problem.problem, false).device;
  CHECK(with - without >= settings.negative_rows * settings.dim * static_cast<int64_t>(sizeof(float)));
}

TEST_CASE("a trimmed context holds no more memory than before its first call") {
  for (const Loss loss : kLosses) {
    Settings settings;
    settings.loss = loss;
    settings.rows = 3000;
    settings.dim = 20;
    settings.negative_rows = 6;
    const Case problem(settings);
    Output output(problem);
    const Context context(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 2);
    infonce_failure failure = empty_failure();
    const int64_t before = live;
    REQUIRE(context.run(problem.problem, output.result, failure) == INFONCE_OK);
    const int64_t kept = live - before;
    int64_t freed = 0;
    REQUIRE(backend().trim(context.handle(), &freed, &failure) == INFONCE_OK);
    CHECK(live == before);
    CHECK(freed <= kept);
    // What it holds beside the blocks themselves: headers, room that vectors have not used.
    CHECK(freed >= kept - kept / 10);
  }
}

TEST_CASE("a forward call keeps its rows but no logits, and saved_destroy frees all of it") {
  Settings settings;
  settings.loss = Loss::kNtXentAll;
  settings.rows = 4000;
  settings.dim = 64;
  const Case problem(settings);
  Output output(problem);
  const Context context(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 2);
  infonce_failure failure = empty_failure();
  REQUIRE(context.run(problem.problem, output.result, failure) == INFONCE_OK);
  const int64_t before = live;
  infonce_saved *saved = nullptr;
  REQUIRE(backend().forward(context.handle(), &problem.problem, &output.result, &saved, &failure) == INFONCE_OK);
  // Two layouts of the unit rows, and some numbers for each row.
  const int64_t row_bytes = 2 * 64 * static_cast<int64_t>(sizeof(float)) + 256;
  CHECK(live - before <= settings.rows * row_bytes + 65'536);
  backend().saved_destroy(context.handle(), saved);
  CHECK(live == before);
}

}  // namespace infonce::test

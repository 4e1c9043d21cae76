// Calls whose arrays lie in memory of `allocate` or `host_allocate` give the bits of calls with ordinary host memory.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <deque>
#include <vector>

#include "test/case.h"
#include "test/context.h"
#include "test/forms.h"
#include "test/parts.h"

namespace infonce::test {

namespace {

// Memory of the context's device, which begins as a copy of a host buffer. An empty one takes none.
class DeviceArray {
 public:
  DeviceArray(const Context &context, const Buffer<float> &source)
      : context_(context.handle()), bytes_(static_cast<int64_t>(source.size() * sizeof(float))) {
    if (bytes_ > 0) {
      infonce_failure failure = empty_failure();
      REQUIRE_MESSAGE(backend().allocate(context_, bytes_, &memory_, &failure) == INFONCE_OK, failure.message);
      copy(memory_, source.data(), INFONCE_COPY_TO_DEVICE);
    }
  }
  ~DeviceArray() {
    if (memory_) {
      backend().release(context_, memory_);
    }
  }
  DeviceArray(const DeviceArray &) = delete;
  DeviceArray &operator=(const DeviceArray &) = delete;

  float *data() const { return static_cast<float *>(memory_); }
  void read(const Buffer<float> &target) const {
    if (bytes_ > 0) {
      copy(target.data(), memory_, INFONCE_COPY_FROM_DEVICE);
    }
  }
  void assign(const DeviceArray &other) const { copy(memory_, other.memory_, INFONCE_COPY_WITHIN_DEVICE); }

 private:
  void copy(void *to, const void *from, infonce_copy direction) const {
    infonce_failure failure = empty_failure();
    REQUIRE_MESSAGE(backend().copy(context_, to, from, bytes_, direction, &failure) == INFONCE_OK, failure.message);
  }

  infonce_context *context_;
  void *memory_ = nullptr;
  int64_t bytes_;
};

Buffer<float> counting(size_t size, float first) {
  Buffer<float> buffer(size);
  for (size_t i = 0; i < size; ++i) {
    buffer[i] = first + static_cast<float>(i);
  }
  return buffer;
}

bool same(const Buffer<float> &a, const Buffer<float> &b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// Arrays as bits: the matrices, the gradients, and two more.
constexpr uint32_t kFirstMatrix = 1, kFirstGradient = 1 << INFONCE_MOST_MATRICES;
constexpr uint32_t kGradOutput = kFirstGradient << INFONCE_MOST_MATRICES, kRowLoss = 2 * kGradOutput;
constexpr uint32_t kAllArrays = 2 * kRowLoss - 1;

// Those that a problem has.
uint32_t arrays_of(const infonce_problem &problem) {
  const uint32_t each = (uint32_t(1) << problem.matrix_count) - 1;
  return each * kFirstMatrix | each * kFirstGradient | kGradOutput | kRowLoss;
}

// The arrays in `mask` lie on the device, the others in host memory.
Output run_on_device(const Context &context, const Inputs &from, uint32_t mask) {
  Output output(from);
  infonce_problem problem = from.problem;
  infonce_result result = output.result;
  std::deque<DeviceArray> inputs, results;
  std::vector<const Buffer<float> *> targets;
  const auto place_input = [&](const Buffer<float> &source) { return inputs.emplace_back(context, source).data(); };
  const auto place_result = [&](const Buffer<float> &target) {
    targets.push_back(&target);
    return infonce_output{results.emplace_back(context, target).data(), INFONCE_ON_DEVICE};
  };
  for (int m = 0; m < problem.matrix_count; ++m) {
    if (mask & kFirstMatrix << m) {
      problem.matrices[m].data = place_input(from.matrices[m]);
      problem.matrices[m].residence = INFONCE_ON_DEVICE;
    }
    if (mask & kFirstGradient << m) result.gradients[m] = place_result(output.gradients[m]);
  }
  if (mask & kGradOutput) {
    problem.grad_output.data = place_input(from.grad_output);
    problem.grad_output.residence = INFONCE_ON_DEVICE;
  }
  if (mask & kRowLoss) result.row_loss = place_result(output.row_loss);
  infonce_failure failure = empty_failure();
  REQUIRE_MESSAGE(context.run(problem, result, failure) == INFONCE_OK, failure.message);
  for (size_t i = 0; i < results.size(); ++i) results[i].read(*targets[i]);
  output.result.scalars = result.scalars;
  return output;
}

// Candidates of parts and their gradients lie on the device.
Output run_in_parts_on_device(const Context &context, const Inputs &whole, const Split &split) {
  Output output(whole);
  output.want_rows(whole);
  const OpenedCall call(context, whole, split);
  infonce_failure failure = empty_failure();
  for (const Slice &slice : split.parts) {
    Part part(whole, slice);
    const DeviceArray matrix(context, part.matrix);
    part.part.candidates.data = matrix.data();
    part.part.candidates.residence = INFONCE_ON_DEVICE;
    REQUIRE_MESSAGE(call.add(part.part, failure) == INFONCE_OK, failure.message);
  }
  call.close(output);
  call.gradients(output, [&](Part &part, const Buffer<float> &gradient) {
    const DeviceArray matrix(context, part.matrix), room(context, gradient);
    part.part.candidates.data = matrix.data();
    part.part.candidates.residence = INFONCE_ON_DEVICE;
    const infonce_output there = {room.data(), INFONCE_ON_DEVICE};
    const infonce_status status = backend().add_gradient(context.handle(), call.handle(), &part.part, &there, &failure);
    REQUIRE_MESSAGE(status == INFONCE_OK, failure.message);
    room.read(gradient);
  });
  return output;
}

Context make_context() { return {instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 2}; }

}  // namespace

TEST_CASE("copies to, within and from the device keep every bit") {
  const Context context = make_context();
  for (const size_t size : {1, 63, 5000, 1 << 18}) {
    const Buffer<float> source = counting(size, 0.5F);
    const DeviceArray first(context, source);
    const DeviceArray second(context, counting(size, 7));
    const Buffer<float> target(size);
    first.read(target);
    CHECK(same(target, source));
    second.assign(first);
    second.read(target);
    CHECK(same(target, source));
  }
}

TEST_CASE("memory of host_allocate serves as ordinary memory does") {
  const Case problem([] {
    Settings settings;
    settings.rows = 60;
    settings.dim = 20;
    return settings;
  }());
  const Context context = make_context();
  infonce_failure failure = empty_failure();
  const auto bytes = static_cast<int64_t>(problem.matrices[kAnchors].size() * sizeof(float));
  void *memory = nullptr;
  REQUIRE_MESSAGE(backend().host_allocate(0, bytes, &memory, &failure) == INFONCE_OK, failure.message);
  std::memcpy(memory, problem.matrices[kAnchors].data(), static_cast<size_t>(bytes));
  Output expected(problem);
  Output got(problem);
  REQUIRE(context.run(problem.problem, expected.result, failure) == INFONCE_OK);
  infonce_problem elsewhere = problem.problem;
  elsewhere.matrices[kAnchors].data = memory;
  CHECK(context.run(elsewhere, got.result, failure) == INFONCE_OK);
  CHECK(identical(got, expected));
  backend().host_release(memory);
}

TEST_CASE("arrays on the device, one by one and all together, give the bits of host arrays") {
  const Context context = make_context();
  for (const Loss loss : kLosses) {
    Settings settings;
    settings.loss = loss;
    settings.rows = 66;
    settings.dim = 19;
    settings.negative_rows = 9;
    settings.reduction = INFONCE_REDUCTION_NONE;
    settings.grad_output_count = settings.rows;
    const Case problem(settings);
    INFO(describe(settings));
    const Output expected = run_on_device(context, problem, 0);
    const uint32_t all = arrays_of(problem.problem);
    CHECK(identical(run_on_device(context, problem, all), expected));
    for (uint32_t array = 1; array <= all; array *= 2) {
      if (!(all & array)) continue;
      CAPTURE(array);
      CHECK(identical(run_on_device(context, problem, array), expected));
      CHECK(identical(run_on_device(context, problem, all & ~array), expected));
    }
  }
}

TEST_CASE("arrays of any form on the device give the bits of host arrays") {
  const Context context = make_context();
  for (uint32_t seed = 7000; seed < (simulated() ? 7006 : 7030); ++seed) {
    Form form = random_form(seed);
    form.halves = false;
    INFO(describe(form));
    const Inputs inputs = inputs_of(form);
    CHECK(identical(run_on_device(context, inputs, kAllArrays), run_on_device(context, inputs, 0)));
  }
}

TEST_CASE("parts on the device, and their gradients, give the bits of those on the host") {
  const Context context = make_context();
  for (uint32_t seed = 7100; seed < (simulated() ? 7104 : 7120); ++seed) {
    Form form = random_form_with_gradients_in_parts(seed);
    form.halves = false;
    INFO(describe(form));
    const Inputs whole = inputs_of(form);
    const Split split = in_random_parts(whole, seed);
    CHECK(identical(run_in_parts_on_device(context, whole, split), run_in_parts(context, whole, split)));
  }
}

namespace {

void check_scalars(const Context &context, bool ranks) {
  Settings settings;
  settings.ranks = ranks;
  settings.loss = Loss::kClip;
  settings.rows = 40;
  settings.dim = 12;
  settings.gradient = false;
  const Case problem(settings);
  const Output expected = run_on_device(context, problem, 0);
  const DeviceArray anchors(context, problem.matrices[kAnchors]);
  const DeviceArray keys(context, problem.matrices[kKeys]);
  const Buffer<float> raw(sizeof(infonce_scalars) / sizeof(float));
  const DeviceArray room(context, raw);
  infonce_problem there = problem.problem;
  there.matrices[kAnchors].data = anchors.data();
  there.matrices[kKeys].data = keys.data();
  for (infonce_matrix &matrix : there.matrices) {
    matrix.residence = INFONCE_ON_DEVICE;
  }
  infonce_result result{};
  result.struct_size = sizeof(result);
  result.scalars.loss = -7;
  result.device_scalars = reinterpret_cast<infonce_scalars *>(room.data());
  infonce_failure failure = empty_failure();
  REQUIRE_MESSAGE(context.run(there, result, failure) == INFONCE_OK, failure.message);
  room.read(raw);
  infonce_scalars scalars;
  std::memcpy(&scalars, raw.data(), sizeof(scalars));
  CHECK(scalars.loss == expected.result.scalars.loss);
  if (ranks) {
    CHECK(scalars.top1 == expected.result.scalars.top1);
    CHECK(scalars.top5 == expected.result.scalars.top5);
  } else {
    CHECK(std::isnan(scalars.top1));
    CHECK(std::isnan(scalars.top5));
  }
  CHECK(result.scalars.loss == -7);
}

}  // namespace

TEST_CASE("scalars on the device are those of the host, whose fields are left alone") {
  const Context context = make_context();
  check_scalars(context, true);
  check_scalars(context, false);
}

TEST_CASE("sizes that cannot be allocated are refused") {
  const Context context = make_context();
  for (const int64_t bytes : {int64_t(-1), int64_t(1) << 50}) {
    const infonce_status expected = bytes < 0 ? INFONCE_INVALID_ARGUMENT : INFONCE_OUT_OF_MEMORY;
    void *memory = nullptr;
    infonce_failure failure = empty_failure();
    CHECK(backend().allocate(context.handle(), bytes, &memory, &failure) == expected);
    CHECK(memory == nullptr);
    CHECK(std::strlen(failure.message) > 0);
    CHECK(backend().host_allocate(0, bytes, &memory, &failure) == expected);
    CHECK(memory == nullptr);
  }
}

}  // namespace infonce::test

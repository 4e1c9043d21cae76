// Calls whose arrays lie in device memory give the bits of calls whose arrays lie in host memory.
#include <cuda_runtime_api.h>
#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "test/case.h"
#include "test/context.h"

namespace infonce::test {

namespace {

void check_cuda(cudaError_t code) { REQUIRE_MESSAGE(code == cudaSuccess, cudaGetErrorString(code)); }

class Stream {
 public:
  Stream() { check_cuda(cudaStreamCreateWithFlags(&handle_, cudaStreamNonBlocking)); }
  ~Stream() { cudaStreamDestroy(handle_); }
  Stream(const Stream &) = delete;
  Stream &operator=(const Stream &) = delete;

  cudaStream_t handle() const { return handle_; }
  void synchronize() const { check_cuda(cudaStreamSynchronize(handle_)); }

 private:
  cudaStream_t handle_ = nullptr;
};

// Device memory that begins as a copy of a host buffer; no memory for an empty one.
template <class T> class DeviceBuffer {
 public:
  explicit DeviceBuffer(const Buffer<T> &source) : size_(source.size()) {
    if (size_ > 0) {
      check_cuda(cudaMalloc(reinterpret_cast<void **>(&memory_), size_ * sizeof(T)));
      check_cuda(cudaMemcpy(memory_, source.data(), size_ * sizeof(T), cudaMemcpyHostToDevice));
    }
  }
  ~DeviceBuffer() { cudaFree(memory_); }
  DeviceBuffer(const DeviceBuffer &) = delete;
  DeviceBuffer &operator=(const DeviceBuffer &) = delete;

  T *data() const { return memory_; }
  void read(const Buffer<T> &target) const {
    if (size_ > 0) {
      check_cuda(cudaMemcpy(target.data(), memory_, size_ * sizeof(T), cudaMemcpyDeviceToHost));
    }
  }

 private:
  T *memory_ = nullptr;
  size_t size_;
};

Buffer<double> four_scalars(double value) {
  Buffer<double> scalars(4);
  for (double &scalar : scalars) {
    scalar = value;
  }
  return scalars;
}

// A case and its results on the device.
class DeviceCall {
 public:
  explicit DeviceCall(const Case &from)
      : output_(from),
        anchors_(from.anchors),
        keys_(from.keys),
        negatives_(from.negatives),
        grad_output_(from.grad_output),
        row_loss_(output_.row_loss),
        grad_anchors_(output_.grad_anchors),
        grad_keys_(output_.grad_keys),
        grad_negatives_(output_.grad_negatives),
        scalars_(four_scalars(-1)),
        problem_(from.problem) {
    problem_.on_device = INFONCE_ARRAY_ALL;
    problem_.anchors = anchors_.data();
    problem_.keys = keys_.data();
    problem_.negatives = negatives_.data();
    problem_.grad_output = grad_output_.data();
    result_.struct_size = sizeof(result_);
    result_.row_loss = row_loss_.data();
    result_.grad_anchors = grad_anchors_.data();
    result_.grad_keys = grad_keys_.data();
    result_.grad_negatives = grad_negatives_.data();
  }

  infonce_status run(const Context &context, infonce_failure &failure) {
    return context.run(problem_, result_, failure);
  }

  // The four scalars come into device memory, and the call does not wait for them.
  void keep_scalars_on_device() { result_.scalars = scalars_.data(); }

  // All that the call gave, in host memory.
  const Output &output() {
    row_loss_.read(output_.row_loss);
    grad_anchors_.read(output_.grad_anchors);
    grad_keys_.read(output_.grad_keys);
    grad_negatives_.read(output_.grad_negatives);
    infonce_result &result = output_.result;
    result.loss = result_.loss;
    result.grad_scale = result_.grad_scale;
    result.top1 = result_.top1;
    result.top5 = result_.top5;
    if (result_.scalars) {
      const Buffer<double> scalars(4);
      scalars_.read(scalars);
      result.loss = scalars[0];
      result.grad_scale = scalars[1];
      result.top1 = scalars[2];
      result.top5 = scalars[3];
    }
    return output_;
  }

 private:
  Output output_;
  DeviceBuffer<float> anchors_, keys_, negatives_, grad_output_;
  DeviceBuffer<float> row_loss_, grad_anchors_, grad_keys_, grad_negatives_;
  DeviceBuffer<double> scalars_;
  infonce_problem problem_;
  infonce_result result_{};
};

void check_case(const Case &problem, infonce_precision precision) {
  INFO(describe(problem.settings));
  CAPTURE(precision);
  const std::string set = instruction_sets().front();
  const Context own(set, precision, 0);
  Output expected(problem);
  infonce_failure failure = empty_failure();
  REQUIRE_MESSAGE(own.run(problem.problem, expected.result, failure) == INFONCE_OK, failure.message);

  const Stream stream;
  const Context in_stream(set, precision, 0, backend(), stream.handle());
  for (const Context *context : {&own, &in_stream}) {
    DeviceCall call(problem);
    REQUIRE_MESSAGE(call.run(*context, failure) == INFONCE_OK, failure.message);
    CHECK(identical(call.output(), expected));
  }

  // Two calls in a row before anything is waited for.
  DeviceCall first(problem);
  DeviceCall second(problem);
  for (DeviceCall *call : {&first, &second}) {
    call->keep_scalars_on_device();
    REQUIRE_MESSAGE(call->run(in_stream, failure) == INFONCE_OK, failure.message);
  }
  stream.synchronize();
  CHECK(identical(first.output(), expected));
  CHECK(identical(second.output(), expected));
}

Settings settings_of(Loss loss, double temperature) {
  Settings settings;
  settings.loss = loss;
  settings.rows = 130;
  settings.dim = simulated() ? 70 : 300;
  settings.negative_rows = loss == Loss::kInfoNcePaired ? 5 : 140;
  settings.temperature = temperature;
  return settings;
}

bool all_nan(const Buffer<float> &buffer) {
  for (const float value : buffer) {
    if (!std::isnan(value)) {
      return false;
    }
  }
  return true;
}

}  // namespace

TEST_CASE("device memory gives the bits of host memory") {
  for (const Loss loss : kLosses) {
    for (const auto precision : {INFONCE_PRECISION_HIGHEST, INFONCE_PRECISION_MEDIUM}) {
      check_case(Case(settings_of(loss, 0.1)), precision);
    }
  }
}

TEST_CASE("so it does with row losses and upstream gradients, and in float64") {
  for (const Loss loss : {Loss::kSupCon, Loss::kClip, Loss::kInfoNceUnpaired}) {
    Settings settings = settings_of(loss, 0.1);
    settings.reduction = INFONCE_REDUCTION_NONE;
    settings.grad_output_count = settings.rows;
    check_case(Case(settings), INFONCE_PRECISION_HIGHEST);
    settings = settings_of(loss, 0.001);
    settings.rows = 40;
    check_case(Case(settings), INFONCE_PRECISION_HIGHEST);
  }
}

TEST_CASE("rows that are not normalised") {
  for (const Loss loss : {Loss::kNtXentAll, Loss::kInfoNceInBatch}) {
    Settings settings = settings_of(loss, 0.05);
    settings.normalize = false;
    check_case(Case(settings), INFONCE_PRECISION_HIGHEST);
  }
}

TEST_CASE("a call takes the memory that was foretold") {
  constexpr int64_t kGranularity = int64_t(2) << 20;
  const auto free_memory = [] {
    size_t available = 0;
    size_t all = 0;
    check_cuda(cudaMemGetInfo(&available, &all));
    return static_cast<int64_t>(available);
  };
  for (const Loss loss : kLosses) {
    const Case problem(settings_of(loss, 0.1));
    INFO(describe(problem.settings));
    Output output(problem);
    infonce_failure failure = empty_failure();
    const auto run = [&](const Context &context) {
      REQUIRE_MESSAGE(context.run(problem.problem, output.result, failure) == INFONCE_OK, failure.message);
    };
    const std::string set = instruction_sets().front();
    run(Context(set, INFONCE_PRECISION_HIGHEST, 0));  // loads the kernels
    const Context context(set, INFONCE_PRECISION_HIGHEST, 0);
    infonce_memory_needs needs{};
    needs.struct_size = sizeof(needs);
    needs.grad_negatives = 1;
    REQUIRE(backend().memory_required(context.handle(), &problem.problem, &needs, &failure) == INFONCE_OK);
    const int64_t before = free_memory();
    CHECK(needs.available == before);
    run(context);
    const int64_t taken = before - free_memory();
    CHECK(taken >= needs.device);
    CHECK(taken <= needs.device + kGranularity);
    REQUIRE(backend().memory_required(context.handle(), &problem.problem, &needs, &failure) == INFONCE_OK);
    CHECK(needs.available >= before - taken + needs.device);
  }
}

TEST_CASE("non-finite input in device memory is an error, or NaN where the call does not wait") {
  const Context context(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 0);
  for (const Loss loss : {Loss::kNtXentFirst, Loss::kInfoNcePaired, Loss::kClip}) {
    const Case problem(settings_of(loss, 0.1));
    INFO(describe(problem.settings));
    problem.anchors[static_cast<size_t>(7 * problem.settings.dim)] = NAN;
    infonce_failure failure = empty_failure();
    DeviceCall waiting(problem);
    CHECK(waiting.run(context, failure) == INFONCE_NON_FINITE);
    CHECK(failure.input == INFONCE_INPUT_ANCHORS);
    CHECK(failure.row == 7);

    DeviceCall call(problem);
    call.keep_scalars_on_device();
    failure = empty_failure();
    REQUIRE_MESSAGE(call.run(context, failure) == INFONCE_OK, failure.message);
    check_cuda(cudaDeviceSynchronize());
    const Output &got = call.output();
    CHECK(std::isnan(got.result.loss));
    CHECK(std::isnan(got.result.grad_scale));
    CHECK(std::isnan(got.result.top1));
    CHECK(std::isnan(got.result.top5));
    CHECK(all_nan(got.grad_anchors));
    CHECK(all_nan(got.grad_keys));
    CHECK(all_nan(got.grad_negatives));
  }
}

}  // namespace infonce::test

// Calls whose arrays lie in memory of cudaMalloc give the bits of calls with host memory.
#include <cuda_runtime_api.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <deque>

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

// A case and its results on the device.
class DeviceCall {
 public:
  explicit DeviceCall(const Case &from) : output_(from), scalars_(Buffer<infonce_scalars>(1)), problem_(from.problem) {
    const auto place = [this](const Buffer<float> &source) { return arrays_.emplace_back(source).data(); };
    result_.struct_size = sizeof(result_);
    result_.row_loss = {place(output_.row_loss), INFONCE_ON_DEVICE};
    for (const Buffer<float> &gradient : output_.gradients) {
      result_.gradients[arrays_.size() - 1] = {place(gradient), INFONCE_ON_DEVICE};
    }
    for (int m = 0; m < problem_.matrix_count; ++m) {
      problem_.matrices[m].data = place(from.matrices[m]);
      problem_.matrices[m].residence = INFONCE_ON_DEVICE;
    }
    problem_.grad_output.data = place(from.grad_output);
    problem_.grad_output.residence = INFONCE_ON_DEVICE;
  }

  infonce_status run(const Context &context, infonce_failure &failure) {
    return context.run(problem_, result_, failure);
  }

  // The scalars come into device memory, and the call does not wait for them.
  void keep_scalars_on_device() { result_.device_scalars = scalars_.data(); }

  // All results of the call, in host memory.
  const Output &output() {
    arrays_[0].read(output_.row_loss);
    for (size_t m = 0; m < output_.gradients.size(); ++m) {
      arrays_[1 + m].read(output_.gradients[m]);
    }
    output_.result.scalars = result_.scalars;
    if (result_.device_scalars) {
      const Buffer<infonce_scalars> scalars(1);
      scalars_.read(scalars);
      output_.result.scalars = scalars[0];
    }
    return output_;
  }

 private:
  Output output_;
  std::deque<DeviceBuffer<float>> arrays_;  // row losses and gradients, then what the call reads
  DeviceBuffer<infonce_scalars> scalars_;
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

}  // namespace

TEST_CASE("CUDA memory gives the bits of host memory") {
  for (const Loss loss : kLosses) {
    for (const auto precision : {INFONCE_PRECISION_HIGHEST, INFONCE_PRECISION_MEDIUM}) {
      check_case(Case(settings_of(loss, 0.1)), precision);
    }
  }
}

TEST_CASE("CUDA memory gives them with row losses and upstream gradients, and in float64") {
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

TEST_CASE("CUDA memory gives them without normalisation") {
  for (const Loss loss : {Loss::kNtXentAll, Loss::kInfoNceInBatch}) {
    Settings settings = settings_of(loss, 0.05);
    settings.normalize = false;
    check_case(Case(settings), INFONCE_PRECISION_HIGHEST);
  }
}

TEST_CASE("memory_required is what a call allocates on the device") {
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
    needs.gradients = ~uint32_t(0);
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

TEST_CASE("non-finite input in CUDA memory is an error, or NaN where the call does not wait") {
  const Context context(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 0);
  for (const Loss loss : {Loss::kNtXentFirst, Loss::kInfoNcePaired, Loss::kClip}) {
    const Case problem(settings_of(loss, 0.1));
    INFO(describe(problem.settings));
    problem.matrices[kAnchors][static_cast<size_t>(7 * problem.settings.dim)] = NAN;
    infonce_failure failure = empty_failure();
    DeviceCall waiting(problem);
    CHECK(waiting.run(context, failure) == INFONCE_NON_FINITE);
    CHECK(failure.matrix == kAnchors);
    CHECK(failure.row == 7);

    DeviceCall call(problem);
    call.keep_scalars_on_device();
    failure = empty_failure();
    REQUIRE_MESSAGE(call.run(context, failure) == INFONCE_OK, failure.message);
    check_cuda(cudaDeviceSynchronize());
    const Output &got = call.output();
    CHECK(std::isnan(got.result.scalars.loss));
    CHECK(std::isnan(got.result.scalars.grad_scale));
    CHECK(std::isnan(got.result.scalars.top1));
    CHECK(std::isnan(got.result.scalars.top5));
    CHECK(std::all_of(got.gradients.begin(), got.gradients.end(), all_nan));
  }
}

}  // namespace infonce::test

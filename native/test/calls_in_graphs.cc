// Calls that are captured into a CUDA graph: what replays give, and which calls cannot be captured.
#include <cuda_runtime_api.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "test/cuda_arrays.h"
#include "test/graph_cases.h"

namespace infonce::test {

namespace {

// What is queued in a stream between begin() and end(), as replays do it.
class Graph {
 public:
  explicit Graph(const Stream &stream) : stream_(stream) {
    check_cuda(cudaStreamBeginCapture(stream.handle(), cudaStreamCaptureModeGlobal));
  }
  ~Graph() {
    cudaGraphExecDestroy(executable_);
    cudaGraphDestroy(graph_);
  }
  Graph(const Graph &) = delete;
  Graph &operator=(const Graph &) = delete;

  // How much was queued.
  size_t end() {
    size_t nodes = 0;
    check_cuda(cudaStreamEndCapture(stream_.handle(), &graph_));
    check_cuda(cudaGraphGetNodes(graph_, nullptr, &nodes));
    check_cuda(cudaGraphInstantiate(&executable_, graph_, 0));
    return nodes;
  }
  void replay() const { check_cuda(cudaGraphLaunch(executable_, stream_.handle())); }

 private:
  const Stream &stream_;
  cudaGraph_t graph_ = nullptr;
  cudaGraphExec_t executable_ = nullptr;
};

Output run_on_host_arrays(const Context &context, const Case &problem) {
  Output output(problem);
  infonce_failure failure = empty_failure();
  REQUIRE_MESSAGE(context.run(problem.problem, output.result, failure) == INFONCE_OK, failure.message);
  return output;
}

void check_replays(const Settings &settings, infonce_precision precision) {
  const Case problem(settings), larger(settings_of(Loss::kClip, 140));
  Case other = with_other_numbers(problem);
  std::reverse(other.grad_output.begin(), other.grad_output.end());
  INFO(describe(settings));
  CAPTURE(precision);
  const std::string set = instruction_sets().front();
  const Context own(set, precision, 0);
  const Output expected = run_on_host_arrays(own, problem), expected_of_other = run_on_host_arrays(own, other);
  REQUIRE(!identical(expected, expected_of_other));

  const Stream stream;
  const Context context(set, precision, 0, backend(), stream.handle());
  DeviceCall call(problem);
  call.keep_scalars_on_device();
  infonce_failure failure = empty_failure();
  Graph graph(stream);
  REQUIRE_MESSAGE(call.run(context, failure) == INFONCE_OK, failure.message);
  CHECK(graph.end() > 0);
  CHECK(!identical(call.output(), expected));  // nothing has run

  graph.replay();
  stream.synchronize();
  CHECK(identical(call.output(), expected));
  // Calls outside of the graph use memory of their own.
  const Output expected_of_larger = run_on_host_arrays(own, larger);
  CHECK(identical(run_on_host_arrays(context, larger), expected_of_larger));
  call.bring(other);
  graph.replay();
  graph.replay();
  stream.synchronize();
  CHECK(identical(call.output(), expected_of_other));
  call.bring(problem);
  graph.replay();
  CHECK(identical(run_on_host_arrays(context, larger), expected_of_larger));
  CHECK(identical(call.output(), expected));
}

// What a call that cannot be captured says; it leaves the capture and the context as they were.
template <class Run> void check_refused(const Context &context, const Stream &stream, const char *reason, Run &&run) {
  CAPTURE(reason);
  infonce_failure failure = empty_failure();
  Graph graph(stream);
  CHECK(run(failure) == INFONCE_INVALID_ARGUMENT);
  CHECK_MESSAGE(std::strstr(failure.message, reason) != nullptr, failure.message);
  CHECK(graph.end() == 0);
  run_on_host_arrays(context, Case(settings_of(Loss::kNtXentFirst)));
}

}  // namespace

TEST_CASE("a captured call gives, at every replay, the bits of a call on what its arrays hold then") {
  for (const Loss loss : {Loss::kNtXentFirst, Loss::kClip, Loss::kInfoNceInBatch, Loss::kInfoNcePaired}) {
    for (const auto precision : {INFONCE_PRECISION_HIGHEST, INFONCE_PRECISION_MEDIUM}) {
      check_replays(settings_of(loss), precision);
    }
  }
}

TEST_CASE("so it does with row losses and upstream gradients, without gradients, and in float64") {
  Settings settings = settings_of(Loss::kClip);
  settings.reduction = INFONCE_REDUCTION_NONE;
  settings.grad_output_count = settings.rows;
  check_replays(settings, INFONCE_PRECISION_HIGHEST);
  settings.gradient = false;
  check_replays(settings, INFONCE_PRECISION_MEDIUM);
  settings = settings_of(Loss::kNtXentFirst, 20);
  settings.temperature = 0.001;
  check_replays(settings, INFONCE_PRECISION_HIGHEST);
}

TEST_CASE("a replay on rows that are not finite makes every result NaN, and the next one none") {
  const Case problem(settings_of(Loss::kInfoNceInBatch));
  const Stream stream;
  const Context context(instruction_sets().front(), INFONCE_PRECISION_MEDIUM, 0, backend(), stream.handle());
  const Output expected = run_on_host_arrays(context, problem);
  DeviceCall call(problem);
  call.keep_scalars_on_device();
  infonce_failure failure = empty_failure();
  Graph graph(stream);
  REQUIRE_MESSAGE(call.run(context, failure) == INFONCE_OK, failure.message);
  graph.end();

  const Case bad(problem.settings);
  bad.matrices[kKeys][37] = INFINITY;
  call.bring(bad);
  graph.replay();
  stream.synchronize();
  const Output &got = call.output();
  CHECK(std::isnan(got.result.scalars.loss));
  CHECK(std::isnan(got.result.scalars.grad_scale));
  for (const int matrix : {kAnchors, kKeys}) {
    const Buffer<float> &gradient = got.gradients[matrix];
    CHECK(std::all_of(gradient.begin(), gradient.end(), [](float number) { return std::isnan(number); }));
  }
  call.bring(problem);
  graph.replay();
  stream.synchronize();
  CHECK(identical(call.output(), expected));
}

TEST_CASE("calls for which somebody waits are refused while a graph is captured, with the reason") {
  const Stream stream;
  const Context context(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 0, backend(), stream.handle());
  const auto refused = [&](const char *reason, auto &&run) { check_refused(context, stream, reason, run); };
  const auto refuses = [&](const char *reason, const Case &problem, bool keeps_scalars) {
    DeviceCall call(problem);
    if (keeps_scalars) call.keep_scalars_on_device();
    refused(reason, [&](infonce_failure &failure) { return call.run(context, failure); });
  };
  refuses("labels", Case(settings_of(Loss::kSupCon)), true);
  refuses("device_scalars", Case(settings_of(Loss::kClip)), false);
  Settings settings = settings_of(Loss::kClip);
  settings.normalize = false;
  refuses("without normalisation", Case(settings), true);

  const Case on_host(settings_of(Loss::kNtXentFirst));
  Output output(on_host);
  refused("memory of the device",
          [&](infonce_failure &failure) { return context.run(on_host.problem, output.result, failure); });
  DeviceCall call(on_host);
  infonce_saved *saved = nullptr;
  refused("forward", [&](infonce_failure &failure) {
    return backend().forward(context.handle(), &call.problem(), &call.result(), &saved, &failure);
  });
  CHECK(saved == nullptr);
  float number = 0;
  refused("copies", [&](infonce_failure &failure) {
    return backend().copy(context.handle(), &number, call.problem().matrices[0].data, sizeof(number),
                          INFONCE_COPY_FROM_DEVICE, &failure);
  });
}

TEST_CASE("the memory of a captured call is given back once its graph is gone") {
  const auto available = [] {
    size_t free = 0, all = 0;
    check_cuda(cudaMemGetInfo(&free, &all));
    return free;
  };
  const Stream stream;
  const Context context(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 0, backend(), stream.handle());
  const Case problem(settings_of(Loss::kClip));
  DeviceCall call(problem);
  call.keep_scalars_on_device();
  infonce_failure failure = empty_failure();
  int64_t freed = -1;
  const size_t before = available();
  {
    Graph graph(stream);
    REQUIRE_MESSAGE(call.run(context, failure) == INFONCE_OK, failure.message);
    graph.end();
    graph.replay();
    stream.synchronize();
    CHECK(backend().trim(context.handle(), &freed, &failure) == INFONCE_OK);
    CHECK(freed == 0);
  }
  CHECK(backend().trim(context.handle(), &freed, &failure) == INFONCE_OK);
  CHECK(freed > 0);
  if (on_simulator()) CHECK(available() == before);  // a driver hands it out in large pieces
}

TEST_CASE("memory may be taken and given back while a graph is captured") {
  const Stream stream;
  const Context context(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 0, backend(), stream.handle());
  infonce_failure failure = empty_failure();
  int64_t freed = -1;
  void *first = nullptr, *second = nullptr;
  REQUIRE(backend().allocate(context.handle(), 4096, &first, &failure) == INFONCE_OK);
  Graph graph(stream);
  REQUIRE(backend().allocate(context.handle(), 4096, &second, &failure) == INFONCE_OK);
  CHECK(first != second);
  backend().release(context.handle(), first);
  CHECK(backend().trim(context.handle(), &freed, &failure) == INFONCE_OK);
  CHECK(freed == 0);
  CHECK(graph.end() == 0);
  backend().release(context.handle(), second);
  CHECK(backend().trim(context.handle(), &freed, &failure) == INFONCE_OK);
  CHECK(freed >= 2 * 4096);
}

}  // namespace infonce::test

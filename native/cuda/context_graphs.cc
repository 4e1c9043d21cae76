// Calls in graphs: of the caller's stream, which is being captured, and of our own.
#include <algorithm>
#include <utility>

#include "common/call.h"
#include "cuda/capture.h"
#include "cuda/context.h"

namespace infonce::cuda {
namespace {

using Lock = std::lock_guard<std::mutex>;

}  // namespace

void Context::refuse_capture() const {
  if (is_capturing())
    throw CannotBeCaptured(
        "while the context's stream is captured into a graph only whole calls can be made that wait for nothing: "
        "forward,"
        " backward, copies and calls in parts have to come before or after");
}

// Without the calls before, whose work is not part of the graph.
std::unique_ptr<infonce_call> Context::capture(const infonce_problem &problem, infonce_result *result, Phase phase) {
  if (phase.is_logits) refuse_capture();
  const MayAllocate may_allocate;
  infonce_problem uncancelled = problem;
  uncancelled.cancelled = nullptr;
  auto lane = std::make_unique<Lane>(kernels_, stream_of_caller_, false);
  auto work = std::make_unique<Call>(uncancelled, result, precision_, *lane, phase, infonce_output{});
  check_capture(work->work());
  work->place(nullptr);
  // Whatever happens: the graph may hold a part of it.
  captured_.push_back({std::move(lane), end_of_graph(stream_of_caller_)});
  work->begin(nullptr);
  return std::unique_ptr<infonce_call>(new infonce_call{std::move(work), captured_.back().lane.get()});
}

void Context::free_ended_captures() {
  const auto is_over = [](const Captured &captured) { return captured.is_over(); };
  captured_.erase(std::remove_if(captured_.begin(), captured_.end(), is_over), captured_.end());
}

BadRow Context::record(const infonce_problem &problem, const infonce_result &result,
                       std::unique_ptr<infonce_graph> *graph) {
  if (const BadRow bad = first_bad_bias(problem); bad.row >= 0) {
    if (problem.propagate_non_finite)
      throw CannotBeCaptured("a bias that is not finite, which makes every result NaN: there is nothing to compute");
    return bad;
  }
  const Lock lock(mutex_);
  refuse_capture();
  auto made = std::make_unique<infonce_graph>();
  made->result = result;
  Lane lane(kernels_, nullptr, false);
  made->work = std::make_unique<Call>(problem, &made->result, precision_, lane);
  check_repeatable(made->work->work());
  place(*made->work, nullptr);
  made->kernels = made->work->record();
  made->memory = std::move(lane.workspace);
  *graph = std::move(made);
  return {};
}

std::unique_ptr<infonce_call> Context::repeat(infonce_graph &graph, const int32_t *cancelled, infonce_result *result) {
  const Lock lock(mutex_);
  refuse_capture();
  Lane &lane = take_lane();
  try {
    auto work = std::make_unique<Call>(*graph.work, result, lane, cancelled);
    const bool brings_rows = work->brings_rows();
    if (graph.in_flight > 0 && (brings_rows || graph.last_brings_rows))
      throw CannotBeCaptured("a replay whose rows' results come to the host ends before the next one begins");
    work->begin(graph.kernels, last_ == &lane ? nullptr : last_);
    last_ = &lane;
    auto call = std::unique_ptr<infonce_call>(new infonce_call{std::move(work), &lane, &graph});
    ++graph.in_flight;
    graph.last_brings_rows = brings_rows;
    return call;
  } catch (...) {
    drop(lane);
    throw;
  }
}

void Context::destroy(std::unique_ptr<infonce_graph> graph) {
  const Lock lock(mutex_);
  const MayAllocate may_allocate;
  if (is_capturing()) spare_.push_back(std::move(graph->memory));
  else if (graph->work->returns_early() && last_) last_->stream.settle();
  graph.reset();
}

}  // namespace infonce::cuda

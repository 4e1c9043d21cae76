#include "cuda/context.h"

#include <algorithm>
#include <utility>

#include "common/call.h"
#include "cuda/launch/launch.h"
#include "cuda/launch/numbers.h"

namespace infonce::cuda {
namespace {

using Lock = std::lock_guard<std::mutex>;
constexpr size_t kMostSpare = 2;

}  // namespace

Context::Context(const infonce_context_options &options, UseOfSm90 sm90)
    : device_(options.device),
      precision_(infonce_precision(options.precision)),
      stream_of_caller_(static_cast<cudaStream_t>(options.stream)),
      measure_(options.measure != 0),
      kernels_(sm90, options.trace != 0),
      releases_(kernels_) {
  lanes_.push_back(std::make_unique<Lane>(kernels_, stream_of_caller_, measure_));
  try_device();
}

// In a stream of the context's own: that of the caller is left alone.
void Context::try_device() {
  constexpr int64_t kCount = 64;
  constexpr int kByte = 0x3f;
  constexpr float kExpected = 0.74609375f;  // bfloat16 of two such bytes
  Lane &lane = *lanes_.front();
  Stream &stream = lane.downloads;
  uint16_t *from = nullptr;
  float *to = nullptr;
  lane.workspace.lay_out(stream, [&](Workspace::Cursor &cursor) {
    from = cursor.take<uint16_t>(kCount);
    to = cursor.take<float>(kCount);
  });
  const HostMemory result(kCount * sizeof(float));
  const float *numbers = static_cast<const float *>(result.get());
  stream.fill(from, kByte, kCount * sizeof *from);
  widen(stream, false, from, to, kCount);
  stream.copy(result.get(), to, kCount * sizeof *to, cudaMemcpyDeviceToHost);
  stream.synchronize();
  if (!std::all_of(numbers, numbers + kCount, [](float number) { return number == kExpected; }))
    throw Error(cudaErrorUnknown, "the device computed a wrong number");
  lane.workspace.free();
}

Context::~Context() { settle(); }

std::string Context::fault() {
  const Lock lock(fault_mutex_);
  return fault_;
}

void Context::lose(const std::string &fault) {
  const Lock lock(fault_mutex_);
  if (fault_.empty()) fault_ = fault;
}

// The first that is free: calls one after another share a lane, and so wait for nothing but themselves.
Lane &Context::take_lane() {
  for (const std::unique_ptr<Lane> &lane : lanes_)
    if (!lane->busy) {
      lane->busy = true;
      return *lane;
    }
  lanes_.push_back(std::make_unique<Lane>(kernels_, stream_of_caller_, measure_));
  lanes_.back()->busy = true;
  return *lanes_.back();
}

int64_t Context::idle_memory() {
  size_t bytes = 0;
  for (const std::unique_ptr<Lane> &lane : lanes_)
    if (!lane->busy) bytes += lane->workspace.capacity();
  for (const Workspace &workspace : spare_) bytes += workspace.capacity();
  for (const Captured &captured : captured_)
    if (captured.is_over()) bytes += captured.lane->workspace.capacity();
  const Lock lock(memory_mutex_);
  return int64_t(bytes + memory_.idle());
}

bool Context::free_idle_memory() {
  if (idle_memory() == 0 || is_capturing()) return false;
  for (const std::unique_ptr<Lane> &lane : lanes_) {
    if (lane->busy) continue;
    lane->stream.settle();  // a call may have returned before its work was done
    lane->workspace.free();
  }
  spare_.clear();
  free_ended_captures();
  const Lock lock(memory_mutex_);
  memory_.free_idle();
  return true;
}

// Runs take(), and again with what idle lanes and destroyed states have held if there is not enough memory.
template <class Take> auto Context::with_idle_memory(Take &&take) {
  try {
    return take();
  } catch (const OutOfMemory &) {
    if (!free_idle_memory()) throw;
  }
  return take();
}

void Context::place(Call &call, Workspace *kept) {
  with_idle_memory([&] { call.place(kept); });
}

void Context::start(Call &call, Lane &lane, Workspace *kept) {
  place(call, kept);
  call.begin(last_ == &lane ? nullptr : last_);
  last_ = &lane;
}

// After a failure: nothing of the lane's work may touch the caller's arrays any longer.
void Context::drop(Lane &lane) noexcept {
  lane.abandon();
  if (last_ == &lane) last_ = nullptr;
  lane.busy = false;
}

BadRow Context::finish(Call &call, Lane &lane) {
  try {
    const BadRow bad = call.end();  // others may begin meanwhile
    const Lock lock(mutex_);
    if (lane.was_ended_early()) throw Cancelled();
    lane.watch(nullptr, nullptr);
    if (last_ == &lane && !call.returns_early()) last_ = nullptr;
    lane.busy = false;
    return bad;
  } catch (...) {
    const Lock lock(mutex_);
    drop(lane);
    throw;
  }
}

std::unique_ptr<infonce_call> Context::begin(const infonce_problem &problem, infonce_result *result, Phase phase,
                                             infonce_output logits) {
  const Lock lock(mutex_);
  if (is_capturing()) return capture(problem, result, phase);
  free_ended_captures();
  Lane &lane = take_lane();
  const infonce_precision precision = phase.is_logits ? INFONCE_PRECISION_HIGHEST : precision_;
  try {
    auto work = std::make_unique<Call>(problem, result, precision, lane, phase, logits);
    start(*work, lane, nullptr);
    return std::unique_ptr<infonce_call>(new infonce_call{std::move(work), &lane});
  } catch (...) {
    drop(lane);
    throw;
  }
}

BadRow Context::end(infonce_call &call) {
  const auto ended = [&] {
    if (!call.graph) return;
    const Lock lock(mutex_);
    --call.graph->in_flight;
  };
  try {
    const BadRow bad = finish(*call.work, *call.lane);
    ended();
    return bad;
  } catch (...) {
    ended();
    throw;
  }
}

BadRow Context::begin_saved(const infonce_problem &problem, infonce_result *result, Phase phase,
                            std::unique_ptr<infonce_saved> *saved) {
  auto state = std::make_unique<infonce_saved>();
  state->problem = problem;
  Lane *lane = nullptr;
  {
    const Lock lock(mutex_);
    refuse_capture();
    if (!spare_.empty()) {
      state->memory = std::move(spare_.back());
      spare_.pop_back();
    }
    lane = &take_lane();
    try {
      const bool opened = !phase.has_losses;
      state->work = std::make_unique<Call>(problem, result, precision_, *lane, phase, infonce_output{}, opened);
      start(*state->work, *lane, &state->memory);
    } catch (...) {
      drop(*lane);
      throw;
    }
  }
  const BadRow bad = finish(*state->work, *lane);
  if (bad.row < 0) *saved = std::move(state);
  else destroy(std::move(state));
  return bad;
}

// The next phase of a call, with a new upstream gradient if there is one.
BadRow Context::go_on(infonce_saved &saved, Phase phase, const infonce_upstream *upstream, infonce_result *result) {
  const Lock one_at_a_time(saved.mutex);
  Lane *lane = nullptr;
  {
    const Lock lock(mutex_);
    refuse_capture();
    lane = &take_lane();
    try {
      if (upstream) saved.work->set_upstream(upstream->grad_output);
      saved.work->turn(phase, result, *lane, upstream ? upstream->cancelled : nullptr);
      start(*saved.work, *lane, &saved.memory);
    } catch (...) {
      drop(*lane);
      throw;
    }
  }
  return finish(*saved.work, *lane);
}

BadRow Context::take_part(infonce_saved &saved, const infonce_part &part, Phase phase, infonce_output gradient) {
  const BadRow bad_number = first_bad_number(saved.problem, part, phase.has_gradients ? Pass::kGradient : Pass::kSums);
  if (bad_number.row >= 0 && !saved.problem.propagate_non_finite) return bad_number;
  const Lock one_at_a_time(saved.mutex);
  infonce_result result{};
  std::unique_ptr<Call> work;
  Lane *lane = nullptr;
  {
    const Lock lock(mutex_);
    refuse_capture();
    lane = &take_lane();
    try {
      if (phase.has_gradients) with_idle_memory([&] { saved.work->place_sums_of_parts(&saved.sums_of_parts, *lane); });
      work = std::make_unique<Call>(*saved.work, part, gradient, bad_number, &result, *lane, phase);
      start(*work, *lane, nullptr);
    } catch (...) {
      drop(*lane);
      throw;
    }
  }
  const BadRow bad = finish(*work, *lane);
  if (bad.row < 0) saved.work->take_back(*work);
  return bad;
}

BadRow Context::forward(const infonce_problem &problem, infonce_result *result, std::unique_ptr<infonce_saved> *saved) {
  return begin_saved(problem, result, kForward, saved);
}

BadRow Context::backward(infonce_saved &saved, const infonce_upstream &upstream, infonce_result *result) {
  return go_on(saved, kBackward, &upstream, result);
}

BadRow Context::open(const infonce_problem &problem, std::unique_ptr<infonce_saved> *saved) {
  infonce_result none{};
  return begin_saved(problem, &none, kOpen, saved);
}

BadRow Context::add(infonce_saved &saved, const infonce_part &part) {
  return take_part(saved, part, part.terms ? kAddTerms : kAdd, {});
}

BadRow Context::close(infonce_saved &saved, infonce_result *result) { return go_on(saved, kClose, nullptr, result); }

BadRow Context::open_gradient(infonce_saved &saved, const infonce_upstream &upstream) {
  infonce_result none{};
  return go_on(saved, kOpenGradient, &upstream, &none);
}

BadRow Context::add_gradient(infonce_saved &saved, const infonce_part &part, const infonce_output &gradient) {
  return take_part(saved, part, kAddGradient, gradient);
}

BadRow Context::close_gradient(infonce_saved &saved, infonce_result *result) {
  return go_on(saved, kCloseGradient, nullptr, result);
}

void Context::read_rows(infonce_saved &saved, int32_t softmax, const infonce_travelling_rows &rows) {
  const Lock one_at_a_time(saved.mutex);
  on_a_lane([&](Lane &lane) { saved.work->read_rows(softmax, rows, lane); });
}

BadRow Context::join_rows(infonce_saved &saved, int32_t softmax, const infonce_travelling_rows &rows) {
  const BadRow bad = first_bad_sum(saved.problem, softmax, rows);
  if (bad.row >= 0 && !saved.problem.propagate_non_finite) return bad;
  const Lock one_at_a_time(saved.mutex);
  on_a_lane([&](Lane &lane) { saved.work->join_rows(softmax, rows, bad, lane); });
  return {};
}

void Context::destroy(std::unique_ptr<infonce_saved> saved) {
  const Lock lock(mutex_);
  const MayAllocate may_allocate;
  if (saved->work->returns_early() && last_ && !is_capturing()) last_->stream.settle();
  if (spare_.size() < kMostSpare) spare_.push_back(std::move(saved->memory));
}

int64_t Context::size_of(const infonce_problem &problem, const infonce_result &result) {
  infonce_result unfilled = result;
  const Lock lock(mutex_);
  return Call(problem, &unfilled, precision_, *lanes_.front()).size();
}

int64_t Context::available() {
  const Lock lock(mutex_);
  return available_memory() + idle_memory();
}

int64_t Context::trim() {
  // Who holds it may be waiting for the device, and keeps most of the memory.
  const std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
  if (!lock || is_capturing()) return 0;
  const int64_t idle = idle_memory();
  free_idle_memory();
  return idle;
}

void Context::settle() noexcept {
  for (const std::unique_ptr<Lane> &lane : lanes_) lane->stream.settle();
}

// Only where memory is short it waits for a call that another thread is beginning.
void *Context::allocate(int64_t bytes) {
  const MayAllocate may_allocate;
  const auto take = [&] {
    const Lock lock(memory_mutex_);
    return memory_.take(size_t(bytes > 0 ? bytes : 1));
  };
  try {
    return take();
  } catch (const OutOfMemory &) {
  }
  const Lock lock(mutex_);
  return with_idle_memory(take);
}

void Context::release(void *memory) {
  const Lock lock(mutex_);
  const Lock memory_lock(memory_mutex_);
  released_in_capture_.push_back(memory);
  if (is_capturing()) return;
  for (void *each : std::exchange(released_in_capture_, {})) give_back(each);
}

void Context::give_back(void *memory) {
  try {
    follow_all_lanes();
    Event done;
    done.record(releases_);
    memory_.give_back(memory, std::move(done));
  } catch (...) {
    memory_.forget(memory);
    throw;
  }
}

void Context::follow_all_lanes() {
  for (const std::unique_ptr<Lane> &lane : lanes_) {
    lane->queued.record(lane->stream);
    releases_.follow(lane->queued.get());
  }
}

void Context::mark(cudaEvent_t event) {
  const Lock lock(mutex_);
  refuse_capture();
  follow_all_lanes();
  check(cudaEventRecord(event, releases_.handle()), "recording an event");
}

// After all work that was begun, for which `body` waits or nobody does.
template <class Body> void Context::on_a_lane(Body &&body, bool waits) {
  const Lock lock(mutex_);
  refuse_capture();
  Lane &lane = take_lane();
  try {
    if (last_ && last_ != &lane) lane.follow(*last_);
    body(lane);
    if (waits) return drop(lane);
    last_ = &lane;
    lane.busy = false;
  } catch (...) {
    drop(lane);
    throw;
  }
}

void Context::copy(void *to, const void *from, int64_t bytes, cudaMemcpyKind kind) {
  if (bytes <= 0) return;
  on_a_lane([&](Lane &lane) { lane.copy(to, from, size_t(bytes), kind); });
}

void Context::copy_after(cudaEvent_t event, void *to, const void *from, int64_t bytes) {
  if (bytes <= 0) return;
  on_a_lane([&](Lane &lane) {
    if (event) lane.stream.follow(event);
    lane.copy(to, from, size_t(bytes), cudaMemcpyDefault);
  });
}

void Context::combine(float *to, const float *from, int64_t count, float factor, bool waits) {
  const auto queue = [&](Lane &lane) {
    cuda::combine(lane.stream, to, from, count, factor);
    if (waits) lane.stream.synchronize();
  };
  on_a_lane(queue, waits);
}

}  // namespace infonce::cuda

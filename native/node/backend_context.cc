#include "node/backend_context.h"

#include <string>

#include "node/failure.h"

namespace infonce::node {

namespace {

// A function of the backend's table, which not every backend has to have.
template <typename Function> Function present(Function function, const char *name) {
  if (function == nullptr) {
    throw Failure{INFONCE_INTERNAL, std::string("this backend has no function ") + name};
  }
  return function;
}

void release_memory(const infonce_backend &backend, infonce_context *context, void *memory) {
  backend.release(context, memory);
}

void destroy_saved(const infonce_backend &backend, infonce_context *context, void *saved) {
  backend.saved_destroy(context, static_cast<infonce_saved *>(saved));
}

void destroy_graph(const infonce_backend &backend, infonce_context *context, void *graph) {
  backend.graph_destroy(context, static_cast<infonce_graph *>(graph));
}

void close_opened(const infonce_backend &backend, infonce_context *context, void *lent) {
  const std::unique_ptr<void *> opened(static_cast<void **>(lent));
  backend.close_memory(context, *opened);
}

}  // namespace

class BackendContext::Calling {
 public:
  explicit Calling(BackendContext &context) : context_(context) {
    const std::lock_guard<std::mutex> lock(context_.mutex_);
    ++context_.calls_;
  }
  ~Calling() {
    if (!goes_on_) {
      context_.call_has_ended();
    }
  }
  Calling(const Calling &) = delete;
  Calling &operator=(const Calling &) = delete;

  // The call ends later: `call_has_ended` is left to the caller.
  void go_on() { goes_on_ = true; }

 private:
  BackendContext &context_;
  bool goes_on_ = false;
};

BackendContext::BackendContext(const infonce_backend &backend, const infonce_context_options &options)
    : backend_(backend) {
  infonce_failure report = empty_report();
  check(backend_.context_create(&options, &context_, &report), report);
}

void BackendContext::close() noexcept {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (context_ == nullptr) {
    return;
  }
  for (auto *loans : {&lent_, &returned_}) {
    for (const auto &[lent, give_back] : *loans) {
      give_back(backend_, context_, lent);
    }
    loans->clear();
  }
  backend_.context_destroy(context_);
  context_ = nullptr;
}

void BackendContext::run(const infonce_problem &problem, infonce_result &result) {
  const Calling calling(*this);
  infonce_failure report = empty_report();
  check(backend_.run(context_, &problem, &result, &report), report);
}

void BackendContext::take_step(const Step &step) {
  const Calling calling(*this);
  infonce_failure report = empty_report();
  check(step(backend_, context_, &report), report);
}

infonce_call *BackendContext::begin(const infonce_problem &problem, infonce_result &result) {
  Calling calling(*this);
  infonce_failure report = empty_report();
  infonce_call *call = nullptr;
  check(backend_.begin(context_, &problem, &result, &call, &report), report);
  calling.go_on();
  return call;
}

void BackendContext::end(infonce_call *call) {
  infonce_failure report = empty_report();
  const infonce_status status = backend_.end(context_, call, &report);
  call_has_ended();
  check(status, report);
}

std::shared_ptr<void> BackendContext::capture(const infonce_problem &problem, const infonce_result &result) {
  const Calling calling(*this);
  infonce_failure report = empty_report();
  infonce_graph *graph = nullptr;
  check(present(backend_.capture, "capture")(context_, &problem, &result, &graph, &report), report);
  return share(graph, destroy_graph);
}

infonce_call *BackendContext::replay(void *graph, const int32_t *cancelled, infonce_result &result) {
  Calling calling(*this);
  infonce_failure report = empty_report();
  infonce_call *call = nullptr;
  check(present(backend_.replay, "replay")(context_, static_cast<infonce_graph *>(graph), cancelled, &result, &call,
                                           &report),
        report);
  calling.go_on();
  return call;
}

std::shared_ptr<void> BackendContext::forward(const infonce_problem &problem, infonce_result &result) {
  const Calling calling(*this);
  infonce_failure report = empty_report();
  infonce_saved *saved = nullptr;
  check(present(backend_.forward, "forward")(context_, &problem, &result, &saved, &report), report);
  return share(saved, destroy_saved);
}

void BackendContext::backward(void *saved, const infonce_upstream &upstream, infonce_result &result) {
  const Calling calling(*this);
  infonce_failure report = empty_report();
  check(present(backend_.backward, "backward")(context_, static_cast<infonce_saved *>(saved), &upstream, &result,
                                               &report),
        report);
}

void BackendContext::logits(const infonce_problem &problem, const infonce_output &logits) {
  const Calling calling(*this);
  infonce_failure report = empty_report();
  check(present(backend_.logits, "logits")(context_, &problem, &logits, &report), report);
}

infonce_memory_needs BackendContext::memory_required(const infonce_problem &problem, uint32_t gradients) {
  infonce_failure report = empty_report();
  infonce_memory_needs needs{};
  needs.struct_size = sizeof(needs);
  needs.gradients = gradients;
  check(present(backend_.memory_required, "memory_required")(context_, &problem, &needs, &report), report);
  return needs;
}

std::shared_ptr<void> BackendContext::allocate(int64_t bytes) {
  try {
    return share(allocate_or_throw(bytes), release_memory);
  } catch (const Failure &failure) {
    if (failure.status != INFONCE_OUT_OF_MEMORY || !give_back_returned()) {
      throw;
    }
  }
  return share(allocate_or_throw(bytes), release_memory);
}

void *BackendContext::allocate_or_throw(int64_t bytes) {
  infonce_failure report = empty_report();
  void *memory = nullptr;
  check(present(backend_.allocate, "allocate")(context_, bytes, &memory, &report), report);
  return memory;
}

void BackendContext::examine(const void *memory, int64_t bytes) {
  infonce_failure report = empty_report();
  check(present(backend_.examine, "examine")(context_, memory, bytes, &report), report);
}

infonce_memory_handle BackendContext::export_memory(const void *memory) {
  infonce_failure report = empty_report();
  infonce_memory_handle handle{};
  check(present(backend_.export_memory, "export_memory")(context_, memory, &handle, &report), report);
  return handle;
}

std::shared_ptr<void> BackendContext::open_memory(const infonce_memory_handle &handle, int64_t bytes) {
  infonce_failure report = empty_report();
  // What is lent has an address of its own: the same memory may be opened twice.
  auto opened = std::make_unique<void *>(nullptr);
  void *memory = nullptr;
  check(present(backend_.open_memory, "open_memory")(context_, &handle, bytes, opened.get(), &memory, &report), report);
  const std::shared_ptr<void> lent = share(opened.release(), close_opened);
  return {lent, memory};
}

void BackendContext::copy(void *to, const void *from, size_t bytes, infonce_copy direction) {
  const Calling calling(*this);
  infonce_failure report = empty_report();
  check(present(backend_.copy, "copy")(context_, to, from, static_cast<int64_t>(bytes), direction, &report), report);
}

int64_t BackendContext::trim() {
  infonce_failure report = empty_report();
  int64_t freed = 0;
  check(present(backend_.trim, "trim")(context_, &freed, &report), report);
  return freed;
}

std::shared_ptr<void> BackendContext::share(void *lent, GiveBack give_back) {
  try {
    const std::lock_guard<std::mutex> lock(mutex_);
    lent_.emplace(lent, give_back);
  } catch (...) {
    give_back(backend_, context_, lent);
    throw;
  }
  return {lent, [self = shared_from_this()](void *pointer) { self->return_to_backend(pointer); }};
}

void BackendContext::return_to_backend(void *lent) noexcept {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    // Moving a node needs no memory. After `close` there is none.
    returned_.insert(lent_.extract(lent));
    if (calls_ > 0) {
      return;
    }
  }
  give_back_returned();
}

void BackendContext::call_has_ended() noexcept {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    --calls_;
  }
  give_back_returned();
}

bool BackendContext::give_back_returned() noexcept {
  std::map<void *, GiveBack> loans;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    loans.swap(returned_);
  }
  for (const auto &[lent, give_back] : loans) {
    give_back(backend_, context_, lent);
  }
  return !loans.empty();
}

}  // namespace infonce::node

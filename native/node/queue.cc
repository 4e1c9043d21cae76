#include "node/queue.h"

#include <algorithm>
#include <utility>

#include "node/failure.h"

namespace infonce::node {

Queue::Queue(BackendContext &backend) : backend_(backend) {}

Queue::~Queue() { stop(env_); }

int64_t Queue::submit(Napi::Env env, std::unique_ptr<Job> job) {
  if (!wakeup_) {
    start(env);
  }
  Entries entry;
  entry.push_back({++last_ticket_, std::move(job)});
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    waiting_.splice(waiting_.end(), entry);
  }
  changed_.notify_one();
  add_pending(env);
  return last_ticket_;
}

bool Queue::cancel(Napi::Env env, int64_t ticket) {
  Entries dropped;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto entry = std::find_if(waiting_.begin(), waiting_.end(),
                                    [ticket](const Entry &candidate) { return candidate.ticket == ticket; });
    if (entry == waiting_.end()) {
      return false;
    }
    dropped.splice(dropped.end(), waiting_, entry);
  }
  remove_pending(env);
  return true;
}

void Queue::stop(Napi::Env env) {
  if (!thread_.joinable()) {
    return;
  }
  join();
  while (!waiting_.empty()) {
    Entries entry;
    entry.splice(entry.end(), waiting_, waiting_.begin());
    entry.front().job->fail({INFONCE_INTERNAL, "the context was disposed before this call began"});
    finish(entry);
  }
  close_if_idle(env);
}

void Queue::start(Napi::Env env) {
  Wakeup wakeup = Wakeup::New(env, "infonce", 0, 1, this);
  try {
    thread_ = std::thread([this] { work(); });
  } catch (...) {
    wakeup.Release();
    throw;
  }
  wakeup.Unref(env);
  wakeup_ = wakeup;
  env_ = env;
  // Hooks run in the reverse of the order they were added in: this one before that of `wakeup_`, which frees it.
  napi_add_env_cleanup_hook(env, environment_closing, this);
}

void Queue::work() {
  for (;;) {
    Entries entry;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      changed_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
      if (stopping_) {
        return;
      }
      entry.splice(entry.end(), waiting_, waiting_.begin());
    }
    entry.front().job->run(backend_);
    finish(entry);
  }
}

void Queue::join() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void Queue::finish(Entries &entry) {
  const std::lock_guard<std::mutex> lock(mutex_);
  finished_.splice(finished_.end(), entry);
  wakeup_->NonBlockingCall();
}

void Queue::deliver_next(Napi::Env env, Napi::Function, Queue *queue, std::nullptr_t *) {
  // Without an environment the queue may be gone as well.
  if (static_cast<napi_env>(env) != nullptr) {
    queue->deliver(env);
  }
}

void Queue::deliver(Napi::Env env) {
  Entries entry;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    entry.splice(entry.end(), finished_, finished_.begin());
  }
  // Before `done`, which may submit again or dispose the context.
  remove_pending(env);
  try {
    entry.front().job->deliver(env);
  } catch (const Napi::Error &error) {
    napi_fatal_exception(env, error.Value());
  }
}

void Queue::environment_closing(void *data) {
  auto *queue = static_cast<Queue *>(data);
  if (queue->thread_.joinable()) {
    queue->join();
  }
  queue->waiting_.clear();
  queue->finished_.clear();
  queue->wakeup_.reset();
}

void Queue::add_pending(Napi::Env env) {
  if (pending_++ == 0) {
    wakeup_->Ref(env);
  }
}

void Queue::remove_pending(Napi::Env env) {
  if (--pending_ == 0) {
    wakeup_->Unref(env);
    close_if_idle(env);
  }
}

void Queue::close_if_idle(Napi::Env env) {
  if (pending_ == 0 && !thread_.joinable()) {
    wakeup_->Release();
    wakeup_.reset();
    napi_remove_env_cleanup_hook(env, environment_closing, this);
  }
}

}  // namespace infonce::node

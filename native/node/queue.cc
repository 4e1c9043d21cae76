#include "node/queue.h"

#include <algorithm>
#include <cstdlib>
#include <set>
#include <utility>

#include "common/threads.h"
#include "node/failure.h"

namespace infonce::node {

namespace {

// Calls in flight at once: while kernels of one run, inputs of the next are uploaded.
constexpr size_t kMostActive = 2;

// What is copied into JavaScript's arrays before others have their turn, or twice that: well under a millisecond.
constexpr size_t kBytesATurn = size_t{2} << 20;

}  // namespace

// process.exit() closes no environment: without this, a call would go on while the process tears down what it uses.
class Queue::Running {
 public:
  // Starts the thread.
  static void start(Queue *queue) {
    Running &running = instance();
    const std::lock_guard<std::mutex> lock(running.mutex_);
    const auto added = running.queues_.insert(queue).first;
    try {
      queue->thread_ = start_thread([queue] { queue->work(); });
    } catch (...) {
      running.queues_.erase(added);
      throw;
    }
  }

  // Whether the thread is the caller's to join: false if it was never started, or has been joined already, which another
  // environment may be doing because the process exits.
  static bool take(Queue *queue) {
    Running &running = instance();
    const std::lock_guard<std::mutex> lock(running.mutex_);
    return running.queues_.erase(queue) > 0;
  }

 private:
  // Never destroyed: environments of other threads may still close.
  static Running &instance() {
    static Running &running = *new Running;
    return running;
  }

  Running() {
#ifndef _WIN32  // which ends all threads before exit handlers run
    std::atexit([] { instance().end_all(); });
#endif
  }

  void end_all() {
    const std::lock_guard<std::mutex> lock(mutex_);
    // All first: a job may wait for one of another queue.
    for (Queue *queue : queues_) {
      queue->ask_to_end(true);
    }
    for (Queue *queue : queues_) {
      queue->thread_.join();
    }
    queues_.clear();
  }

  std::mutex mutex_;
  std::set<Queue *> queues_;
};

Queue::~Queue() { stop(env_); }

int64_t Queue::submit(Napi::Env env, std::unique_ptr<Job> job) {
  if (!wakeup_) {
    start(env);
  }
  Entries entry;
  entry.push_back({++last_ticket_, std::move(job)});
  entry.front().job->take_turn();
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    waiting_.splice(waiting_.end(), entry);
  }
  changed_.notify_one();
  add_pending(env);
  return last_ticket_;
}

CancelOutcome Queue::cancel(Napi::Env env, int64_t ticket) {
  const auto has_ticket = [ticket](const Entry &entry) { return entry.ticket == ticket; };
  Entries dropped;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto active = std::find_if(active_.begin(), active_.end(), has_ticket);
    if (active != active_.end()) {
      active->job->cancel();
      return CancelOutcome::kAsked;
    }
    const auto waiting = std::find_if(waiting_.begin(), waiting_.end(), has_ticket);
    if (waiting == waiting_.end()) {
      return CancelOutcome::kUnknown;
    }
    if (waiting->job->is_awaited()) {
      waiting->job->cancel();
      return CancelOutcome::kAsked;
    }
    dropped.splice(dropped.end(), waiting_, waiting);
  }
  remove_pending(env);
  return CancelOutcome::kDropped;
}

void Queue::drain() {
  std::unique_lock<std::mutex> lock(mutex_);
  idle_.wait(lock, [this] { return waiting_.empty() && active_.empty(); });
}

void Queue::stop(Napi::Env env) {
  if (!Running::take(this)) {
    return;
  }
  ask_to_end(false);
  thread_.join();
  stopped_ = true;
  while (!waiting_.empty()) {
    waiting_.front().job->fail({INFONCE_INTERNAL, "the context was disposed before this call began"});
    finish(waiting_);
  }
  close_if_idle(env);
}

void Queue::start(Napi::Env env) {
  try {
    wakeup_ = Wakeup::New(env, "infonce", 0, 1, this);
    wakeup_->Unref(env);
    for (std::optional<Turn> &turn : turns_) {
      turn = Turn::New(env, "infonce", 0, 1, this);
      turn->Unref(env);
    }
    Running::start(this);
  } catch (...) {
    release_functions();
    throw;
  }
  env_ = env;
  // Hooks run in the reverse of the order they were added in: this one before those of the functions, which free them.
  napi_add_env_cleanup_hook(env, environment_closing, this);
}

void Queue::work() {
  for (;;) {
    bool begins = false;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      if (active_.empty()) {
        idle_.notify_all();
        changed_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
        if (stopping_) {
          return;
        }
      }
      begins = !stopping_ && may_begin_next();
      if (begins) {
        active_.splice(active_.end(), waiting_, waiting_.begin());
      }
    }
    if (begins) {
      begin_last();
    } else {
      end_first();
    }
  }
}

// Calls in halves go next to each other, all else goes alone.
bool Queue::may_begin_next() const {
  if (waiting_.empty()) {
    return false;
  }
  return active_.empty() || (active_.size() < kMostActive && waiting_.front().job->can_overlap());
}

void Queue::begin_last() {
  Job &job = *active_.back().job;
  if (!job.can_overlap()) {
    job.run();
    finish(active_);
    return;
  }
  job.begin();
  // There may be enough once those before it have given back theirs.
  if (job.ran_out_of_memory() && active_.size() > 1) {
    while (active_.size() > 1) {
      end_first();
    }
    job.begin();
  }
}

void Queue::end_first() {
  active_.front().job->end();
  finish(active_);
}

void Queue::ask_to_end(bool abandon) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    if (abandon) {
      for (const Entry &entry : active_) {
        entry.job->abandon();
      }
    }
  }
  changed_.notify_one();
}

void Queue::finish(Entries &from) {
  const std::lock_guard<std::mutex> lock(mutex_);
  finished_.splice(finished_.end(), from, from.begin());
  wakeup_->NonBlockingCall();
}

void Queue::deliver_next(Napi::Env env, Napi::Function, Queue *queue, std::nullptr_t *) {
  // Without an environment the queue may be gone as well.
  if (static_cast<napi_env>(env) != nullptr && !queue->paused_) {
    queue->deliver(env);
  }
}

// One job a call, so that what awaits it goes on before the next.
void Queue::deliver(Napi::Env env) {
  Entries entry;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (finished_.empty()) {
      return;
    }
    entry.splice(entry.end(), finished_, finished_.begin());
  }
  Job &job = *entry.front().job;
  copied_ += job.copy_back(kBytesATurn - copied_);
  if (copied_ == kBytesATurn) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      finished_.splice(finished_.begin(), entry);
    }
    pause();
    return;
  }
  // Before `done`, which may submit again or dispose the context.
  remove_pending(env);
  try {
    job.deliver(env);
  } catch (const Napi::Error &error) {
    napi_fatal_exception(env, error.Value());
  }
}

// Leaves the event loop to others for a turn. Wakeups that come meanwhile are in vain.
void Queue::pause() {
  paused_ = true;
  turns_[next_turn_]->NonBlockingCall();
  next_turn_ = (next_turn_ + 1) % turns_.size();
}

// A pause keeps a job back, which keeps the queue.
void Queue::resume_next(Napi::Env env, Napi::Function, Queue *queue, std::nullptr_t *) {
  if (static_cast<napi_env>(env) != nullptr) {
    queue->resume(env);
  }
}

void Queue::resume(Napi::Env env) {
  paused_ = false;
  copied_ = 0;
  deliver(env);
  if (!paused_ && has_finished()) {
    pause();
  }
}

bool Queue::has_finished() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return !finished_.empty();
}

void Queue::environment_closing(void *data) {
  auto *queue = static_cast<Queue *>(data);
  if (Running::take(queue)) {
    queue->ask_to_end(true);
    queue->thread_.join();
  }
  queue->waiting_.clear();
  queue->finished_.clear();
  queue->wakeup_.reset();
  queue->turns_ = {};
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
  if (pending_ == 0 && stopped_) {
    release_functions();
    napi_remove_env_cleanup_hook(env, environment_closing, this);
  }
}

void Queue::release_functions() {
  for (std::optional<Turn> &turn : turns_) {
    if (turn) {
      turn->Release();
      turn.reset();
    }
  }
  if (wakeup_) {
    wakeup_->Release();
    wakeup_.reset();
  }
}

}  // namespace infonce::node

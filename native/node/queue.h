#pragma once

#include <napi.h>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "node/backend_context.h"
#include "node/job.h"

namespace infonce::node {

// What has become of a job that was to be cancelled.
enum class CancelOutcome { kDropped, kAsked, kUnknown };

// The background thread of a context, started by the first job submitted. Jobs begin in the order they came, and are
// delivered in that order on the event loop of their environment. A pending job keeps the process alive, an idle queue
// does not.
//
// All methods belong to the thread of the environment.
class Queue {
 public:
  // `next_turn` calls a function back in a later turn of the event loop.
  Queue(BackendContext &backend, Napi::Function next_turn);
  // Pending jobs keep their context alive, so there are none by now, or the environment has closed.
  ~Queue();
  Queue(const Queue &) = delete;
  Queue &operator=(const Queue &) = delete;

  // Returns the job's ticket.
  int64_t submit(Napi::Env env, std::unique_ptr<Job> job);

  // Drops a job that has not begun, and asks one that has to end.
  CancelOutcome cancel(Napi::Env env, int64_t ticket);

  // Waits until every job submitted is done. They are delivered later.
  void drain();

  // Waits for the running jobs and fails those behind them. What is finished is still delivered.
  void stop(Napi::Env env);

 private:
  struct Entry {
    int64_t ticket;
    std::unique_ptr<Job> job;
  };

  // A list, because its entries change hands between threads without an allocation that could fail.
  using Entries = std::list<Entry>;

  static void deliver_next(Napi::Env env, Napi::Function, Queue *queue, std::nullptr_t *);
  static void environment_closing(void *queue);
  using Wakeup = Napi::TypedThreadSafeFunction<Queue, std::nullptr_t, &Queue::deliver_next>;

  // The background thread.
  void work();
  bool may_begin_next() const;
  void begin_last();
  void end_first();

  void start(Napi::Env env);
  // Lets the thread end with the jobs that have begun, early if they are to be cancelled.
  void join(bool cancel);
  void finish(Entries &from);
  void deliver(Napi::Env env);
  void pause(Napi::Env env);
  void resume(Napi::Env env);
  bool has_finished();
  void add_pending(Napi::Env env);
  void remove_pending(Napi::Env env);
  void close_if_idle(Napi::Env env);

  // The queues whose threads run, which must end before the process does.
  class Running;

  BackendContext &backend_;
  Napi::FunctionReference next_turn_;

  // Joined by whoever takes it out of `Running`.
  std::thread thread_;

  // Changed by the environment's thread alone.
  napi_env env_ = nullptr;
  // Whether `stop` has ended the thread.
  bool stopped_ = false;
  // One call for each finished job. Open from the first submit until the last delivery after `stop`.
  std::optional<Wakeup> wakeup_;
  int64_t last_ticket_ = 0;
  size_t pending_ = 0;
  // Bytes copied into JavaScript's arrays since the event loop was last left to others.
  size_t copied_ = 0;
  // Whether `resume` will deliver what is finished.
  bool paused_ = false;

  // Shared with the background thread, under the mutex.
  std::mutex mutex_;
  std::condition_variable changed_;
  std::condition_variable idle_;
  Entries waiting_;
  // Begun by the background thread, which alone changes it.
  Entries active_;
  Entries finished_;
  bool stopping_ = false;
};

}  // namespace infonce::node

#pragma once

#include <napi.h>

#include <array>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "node/job.h"

namespace infonce::node {

// The outcome of cancelling a job.
enum class CancelOutcome { kDropped, kAsked, kUnknown };

// The background thread of a context or process group, started by the first job submitted. Jobs begin in the order they came, and are
// delivered in that order on the event loop of their environment. A pending job keeps the process alive, an idle queue
// does not.
//
// All methods belong to the thread of the environment.
class Queue {
 public:
  Queue() = default;
  // Pending jobs keep their owner alive, so there are none by now, or the environment has closed.
  ~Queue();
  Queue(const Queue &) = delete;
  Queue &operator=(const Queue &) = delete;

  // Returns the job's ticket.
  int64_t submit(Napi::Env env, std::unique_ptr<Job> job);

  // Drops a job that has not begun, unless others wait for it, and asks one that has to end.
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
  static void resume_next(Napi::Env env, Napi::Function, Queue *queue, std::nullptr_t *);
  static void environment_closing(void *queue);
  using Wakeup = Napi::TypedThreadSafeFunction<Queue, std::nullptr_t, &Queue::deliver_next>;
  using Turn = Napi::TypedThreadSafeFunction<Queue, std::nullptr_t, &Queue::resume_next>;

  // The background thread.
  void work();
  bool may_begin_next() const;
  void begin_last();
  void end_first();

  void start(Napi::Env env);
  // Lets the thread end with the jobs that have begun, early if those are to be abandoned.
  void ask_to_end(bool abandon);
  void finish(Entries &from);
  void deliver(Napi::Env env);
  void pause();
  void resume(Napi::Env env);
  bool has_finished();
  void add_pending(Napi::Env env);
  void remove_pending(Napi::Env env);
  void close_if_idle(Napi::Env env);
  void release_functions();

  // The queues whose threads run, which must end before the process does.
  class Running;

  // Joined by whoever takes it out of `Running`.
  std::thread thread_;

  // Changed by the environment's thread alone.
  napi_env env_ = nullptr;
  // Whether `stop` has ended the thread.
  bool stopped_ = false;
  // One call for each finished job. Open from the first submit until the last delivery after `stop`.
  std::optional<Wakeup> wakeup_;
  // Open as long. Called by turns to go on in a later turn of the event loop, because one that is called while it runs
  // goes on in the same. JavaScript's own setImmediate may be a test's, which never calls back.
  std::array<std::optional<Turn>, 2> turns_;
  size_t next_turn_ = 0;
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

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

// The background thread of a context, started by the first call submitted. Jobs run in the order they came and are
// delivered on the event loop of their environment. A pending job keeps the process alive, an idle queue does not.
//
// All methods belong to the thread of the environment.
class Queue {
 public:
  explicit Queue(BackendContext &backend);
  // Pending jobs keep their context alive, so there are none by now, or the environment has closed.
  ~Queue();
  Queue(const Queue &) = delete;
  Queue &operator=(const Queue &) = delete;

  // Returns the job's ticket.
  int64_t submit(Napi::Env env, std::unique_ptr<Job> job);

  // Drops a job that has not begun. False if there is none with this ticket.
  bool cancel(Napi::Env env, int64_t ticket);

  // Waits for the running job and fails those behind it. What is finished is still delivered.
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

  void start(Napi::Env env);
  void work();
  void join();
  void finish(Entries &entry);
  void deliver(Napi::Env env);
  void add_pending(Napi::Env env);
  void remove_pending(Napi::Env env);
  void close_if_idle(Napi::Env env);

  BackendContext &backend_;

  // Changed by the environment's thread alone.
  napi_env env_ = nullptr;
  std::thread thread_;
  // One call for each finished job. Open from the first submit until the last delivery after `stop`.
  std::optional<Wakeup> wakeup_;
  int64_t last_ticket_ = 0;
  size_t pending_ = 0;

  // Shared with the background thread, under the mutex.
  std::mutex mutex_;
  std::condition_variable changed_;
  Entries waiting_;
  Entries finished_;
  bool stopping_ = false;
};

}  // namespace infonce::node

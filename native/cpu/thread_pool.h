// Workers kept between calls. Each thread begins with a share of the tasks in a cache line of its own, and takes tasks
// of other shares when it has none left. No thread waits for a worker that holds no task, so a sleeping worker only
// does not help.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "common/call.h"

namespace infonce::cpu {

class ThreadPool {
 public:
  // Throws NoThread.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool &) = delete;
  ThreadPool &operator=(const ThreadPool &) = delete;

  int threads() const { return int(workers_.size()) + 1; }

  // How many of them can take tasks of the next job.
  int active_threads() const { return serial_ ? 1 : threads(); }

  // With `serial` every task of the coming call runs on the caller: small calls are faster alone. Once `cancelled`, as
  // in infonce_problem, says so, tasks that have not begun are left out. Throws Cancelled if it says so already.
  void begin_call(bool serial, const int32_t *cancelled) {
    serial_ = serial;
    cancelled_ = cancelled;
    throw_if_cancelled();
  }
  // For tasks that take long.
  bool cancelled() const { return is_cancelled(cancelled_); }

  // Calls body(index, thread) once for each index below count and returns when all are done; throws Cancelled if some
  // may have been left out. `thread` is below threads() and at no time shared. One caller at a time. The body must not
  // throw.
  template <class Body> void parallel(int64_t count, Body &&body) {
    if (serial_ || workers_.empty() || count == 1) {
      for (int64_t i = 0; i < count && !cancelled(); ++i) body(i, 0);
    } else {
      share_out(count, body);
    }
    throw_if_cancelled();
  }

 private:
  struct Job {
    void (*call)(void *, int64_t, int);
    void *state;
  };

  static constexpr int kIndexBits = 20;
  static constexpr int64_t kMaxTasks = (1 << kIndexBits) - 1;

  template <class Body> void share_out(int64_t count, Body &&body) {
    for (int64_t start = 0; start < count; start += kMaxTasks) {
      auto shifted = [&](int64_t i, int thread) { body(start + i, thread); };
      using Shifted = decltype(shifted);
      const int64_t left = count - start;
      run({[](void *state, int64_t i, int thread) { (*static_cast<Shifted *>(state))(i, thread); }, &shifted},
          uint32_t(left < kMaxTasks ? left : kMaxTasks));
    }
  }
  void throw_if_cancelled() const {
    if (cancelled()) throw Cancelled{};
  }

  // Sequence number of the job (modulo 2^24), first task left, end of the tasks left: one word, so that a thread that
  // comes late finds its claim on a task of a job that has ended refused.
  struct alignas(128) Share {
    std::atomic<uint64_t> tasks{0};
  };
  enum class From { kFront, kBack };

  void stop();
  void run(Job job, uint32_t count);
  bool take_and_run(int thread);
  bool take_and_run(Share &share, From from, int thread);
  void work(int thread);
  void sleep_after(uint64_t sequence);

  std::vector<std::thread> workers_;
  std::vector<Share> shares_;
  bool serial_ = false;
  const int32_t *cancelled_ = nullptr;
  Job job_{};
  alignas(128) std::atomic<uint64_t> sequence_{0};
  std::atomic<int> caller_processor_{0};
  std::atomic<bool> running_{false};  // a job has tasks in flight: the next one is near
  alignas(128) std::atomic<uint32_t> done_{0};
  alignas(128) std::atomic<int> sleepers_{0};
  std::atomic<bool> quit_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
};

}  // namespace infonce::cpu

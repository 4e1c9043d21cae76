// Workers kept between calls. Each thread begins with a share of the tasks in a cache line of its own and takes from
// the others' shares when it has none left; nobody ever waits for a worker that holds no task, so a sleeping or
// descheduled worker costs nothing but its help.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace infonce::cpu {

class ThreadPool {
 public:
  // Throws std::system_error if the system starts no more threads.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool &) = delete;
  ThreadPool &operator=(const ThreadPool &) = delete;

  int threads() const { return int(workers_.size()) + 1; }

  // How many of them can take tasks of the next job.
  int active_threads() const { return serial_ ? 1 : threads(); }

  // With `serial` every task runs on the caller: small calls are faster alone.
  void set_serial(bool serial) { serial_ = serial; }

  // Calls body(index, thread) once for each index below count and returns when all are done. `thread` is below
  // threads() and at no time shared. One caller at a time. The body must not throw.
  template <class Body> void parallel(int64_t count, Body &&body) {
    if (serial_ || workers_.empty() || count == 1) {
      for (int64_t i = 0; i < count; ++i) body(i, 0);
      return;
    }
    for (int64_t start = 0; start < count; start += kMaxTasks) {
      auto shifted = [&](int64_t i, int thread) { body(start + i, thread); };
      using Shifted = decltype(shifted);
      const int64_t left = count - start;
      run({[](void *state, int64_t i, int thread) { (*static_cast<Shifted *>(state))(i, thread); }, &shifted},
          uint32_t(left < kMaxTasks ? left : kMaxTasks));
    }
  }

 private:
  struct Job {
    void (*call)(void *, int64_t, int);
    void *state;
  };

  static constexpr int kIndexBits = 20;
  static constexpr int64_t kMaxTasks = (1 << kIndexBits) - 1;

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

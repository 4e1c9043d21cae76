#include "cpu/thread_pool.h"

#include <chrono>

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "common/threads.h"

namespace infonce::cpu {
namespace {

constexpr std::chrono::microseconds kSpin{100};  // longer than the gap between two calls of a training loop's kernels

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

constexpr int kUnknownProcessor = -1;

int current_processor() {
#if defined(__linux__)
  return sched_getcpu();
#else
  return kUnknownProcessor;
#endif
}

}  // namespace

ThreadPool::ThreadPool(int threads) : shares_(threads) {
  try {
    workers_.reserve(threads);
    for (int t = 1; t < threads; ++t) workers_.push_back(start_thread([this, t] { work(t); }));
  } catch (...) {
    stop();
    throw;
  }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    quit_.store(true);
  }
  wake_.notify_all();
  for (std::thread &worker : workers_) worker.join();
}

void ThreadPool::run(Job job, uint32_t count) {
  job_ = job;
  done_.store(0, std::memory_order_relaxed);
  caller_processor_.store(current_processor(), std::memory_order_relaxed);
  running_.store(true, std::memory_order_relaxed);
  const uint64_t sequence = sequence_.load(std::memory_order_relaxed) + 1;
  const uint64_t threads = shares_.size();
  for (uint64_t t = 0; t < threads; ++t) {
    const uint64_t first = count * t / threads, end = count * (t + 1) / threads;
    shares_[t].tasks.store(sequence << (2 * kIndexBits) | first << kIndexBits | end, std::memory_order_release);
  }
  sequence_.store(sequence);
  if (sleepers_.load() > 0) {
    { std::lock_guard<std::mutex> lock(mutex_); }
    wake_.notify_all();
  }
  while (take_and_run(0)) {
  }
  constexpr int kPatience = 2000;
  for (int spins = 0; done_.load(std::memory_order_acquire) != count;) {
    pause();
    if (spins < kPatience) ++spins;
    else std::this_thread::yield();  // a worker that holds a task may need this processor
  }
  running_.store(false, std::memory_order_relaxed);
}

// The caller goes forward from the first task, workers backward from the end of their shares; who helps another thread
// begins at the far end of what that one has left.
bool ThreadPool::take_and_run(int thread) {
  const int threads = int(shares_.size());
  if (take_and_run(shares_[thread], thread == 0 ? From::kFront : From::kBack, thread)) return true;
  for (int other = 0; other < threads; ++other)
    if (other != thread && take_and_run(shares_[other], other == 0 ? From::kBack : From::kFront, thread)) return true;
  return false;
}

bool ThreadPool::take_and_run(Share &share, From from, int thread) {
  constexpr uint64_t kMask = (1u << kIndexBits) - 1;
  uint64_t tasks = share.tasks.load(std::memory_order_acquire);
  for (;;) {
    const uint64_t first = tasks >> kIndexBits & kMask, end = tasks & kMask;
    if (first == end) return false;
    const uint64_t left = from == From::kFront ? tasks + (uint64_t(1) << kIndexBits) : tasks - 1;
    if (!share.tasks.compare_exchange_weak(tasks, left, std::memory_order_acq_rel, std::memory_order_acquire)) continue;
    if (!cancelled()) job_.call(job_.state, int64_t(from == From::kFront ? first : end - 1), thread);
    done_.fetch_add(1, std::memory_order_acq_rel);
    return true;
  }
}

void ThreadPool::work(int thread) {
  using Clock = std::chrono::steady_clock;
  Clock::time_point idle_since = Clock::now();
  for (unsigned spins = 0; !quit_.load(std::memory_order_relaxed);) {
    const uint64_t seen = sequence_.load(std::memory_order_acquire);
    if (take_and_run(thread)) {
      idle_since = Clock::now();
      continue;
    }
    pause();
    if (++spins % 16 != 0) continue;
    // On the caller's own processor every spin is stolen from it.
    const int here = current_processor();
    const bool in_the_way = here != kUnknownProcessor && here == caller_processor_.load(std::memory_order_relaxed);
    if (!in_the_way && running_.load(std::memory_order_relaxed)) idle_since = Clock::now();
    if (!in_the_way && Clock::now() - idle_since < kSpin) continue;
    sleep_after(seen);
    idle_since = Clock::now();
  }
}

void ThreadPool::sleep_after(uint64_t sequence) {
  std::unique_lock<std::mutex> lock(mutex_);
  sleepers_.fetch_add(1);
  wake_.wait(lock, [&] { return quit_.load() || sequence_.load() != sequence; });
  sleepers_.fetch_sub(1);
}

}  // namespace infonce::cpu

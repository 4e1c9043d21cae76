#include "cpu/thread_pool.h"

#include <chrono>

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

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

int current_processor() {
#if defined(__linux__)
  return sched_getcpu();
#else
  return -2;  // never the caller's
#endif
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  for (int t = 1; t < threads; ++t) workers_.emplace_back([this, t] { work(t); });
}

ThreadPool::~ThreadPool() {
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
  const uint64_t sequence = (ticket_.load(std::memory_order_relaxed) >> (2 * kIndexBits)) + 1;
  ticket_.store(sequence << (2 * kIndexBits) | count);
  if (sleepers_.load() > 0) {
    { std::lock_guard<std::mutex> lock(mutex_); }
    wake_.notify_all();
  }
  while (take_and_run(End::kFront, 0)) {
  }
  for (int spins = 0; done_.load(std::memory_order_acquire) != count; ++spins) {
    pause();
    if (spins > 2000) std::this_thread::yield();  // a worker that holds a task may need this processor
  }
  running_.store(false, std::memory_order_relaxed);
}

bool ThreadPool::take_and_run(End end, int thread) {
  constexpr uint64_t kMask = (1u << kIndexBits) - 1;
  uint64_t ticket = ticket_.load(std::memory_order_acquire);
  for (;;) {
    const uint64_t first = ticket >> kIndexBits & kMask, end_of_tasks = ticket & kMask;
    if (first == end_of_tasks) return false;
    const uint64_t taken = end == End::kFront ? ticket + (uint64_t(1) << kIndexBits) : ticket - 1;
    if (!ticket_.compare_exchange_weak(ticket, taken, std::memory_order_acq_rel, std::memory_order_acquire)) continue;
    job_.call(job_.state, int64_t(end == End::kFront ? first : end_of_tasks - 1), thread);
    done_.fetch_add(1, std::memory_order_acq_rel);
    return true;
  }
}

void ThreadPool::work(int thread) {
  using Clock = std::chrono::steady_clock;
  Clock::time_point idle_since = Clock::now();
  for (unsigned spins = 0; !quit_.load(std::memory_order_relaxed);) {
    const uint64_t seen = ticket_.load(std::memory_order_acquire);
    if (take_and_run(End::kBack, thread)) {
      idle_since = Clock::now();
      continue;
    }
    pause();
    if (++spins % 16 != 0) continue;
    // On the caller's own processor every spin is stolen from it.
    const bool in_the_way = current_processor() == caller_processor_.load(std::memory_order_relaxed);
    if (!in_the_way && running_.load(std::memory_order_relaxed)) {
      idle_since = Clock::now();
      continue;
    }
    if (!in_the_way && Clock::now() - idle_since < kSpin) continue;
    sleep_until_new(seen);
    idle_since = Clock::now();
  }
}

void ThreadPool::sleep_until_new(uint64_t seen) {
  std::unique_lock<std::mutex> lock(mutex_);
  sleepers_.fetch_add(1);
  wake_.wait(lock, [&] { return quit_.load() || ticket_.load() != seen; });
  sleepers_.fetch_sub(1);
}

}  // namespace infonce::cpu

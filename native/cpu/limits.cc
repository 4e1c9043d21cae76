#include "cpu/limits.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "common/call.h"
#include "common/threads.h"
#include "cpu/instruction_sets.h"
#include "cpu/kernels/kernels.h"

namespace infonce::cpu {
namespace {

constexpr double kSecondsEach = 0.03;
constexpr int64_t kTrialIterations = 200'000;
constexpr size_t kCopiedBytes = size_t{256} << 20;         // by all threads together,
constexpr size_t kLeastCopiedByThread = size_t{32} << 20;  // but by each more than its share of the last-level cache
constexpr int kTrips = 5'000;  // few: they take a hundred times as long where another program holds a processor

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Joins its threads whatever happens.
class Threads {
 public:
  ~Threads() { join(); }
  template <class Body> void start(Body &&body) { threads_.push_back(start_thread(std::forward<Body>(body))); }
  void join() {
    for (std::thread &thread : threads_)
      if (thread.joinable()) thread.join();
  }

 private:
  std::vector<std::thread> threads_;
};

// Runs work(thread) on each of `threads` threads, the caller among them; the seconds from when all are awake until all
// are done.
template <class Work> double timed(int threads, const Work &work) {
  std::atomic<int> asleep{threads};
  std::atomic<bool> given_up{false};
  const auto wait_for_all = [&] {
    asleep.fetch_sub(1);
    while (asleep.load() > 0 && !given_up.load()) std::this_thread::yield();
  };
  Threads others;
  try {
    for (int thread = 1; thread < threads; ++thread)
      others.start([&, thread] {
        wait_for_all();
        if (!given_up.load()) work(thread);
      });
  } catch (...) {
    given_up.store(true);
    throw;
  }
  wait_for_all();
  const double start = seconds();
  work(0);
  others.join();
  return seconds() - start;
}

template <class Measure> void repeat(double figures[INFONCE_FIGURES], const Measure &measure) {
  for (int k = 0; k < INFONCE_FIGURES; ++k) figures[k] = measure();
}

void multiply_add_rates(const Kernels &kernels, int threads, double *figures) {
  const Peak &peak = kernels.peak;
  const auto run = [&](int64_t iterations) { peak.run(iterations, 0.999f, 1e-3f); };
  run(kTrialIterations);  // for the clock to settle
  const double trial = timed(1, [&](int) { run(kTrialIterations); });
  const int64_t iterations = std::max(kTrialIterations, int64_t(kTrialIterations * kSecondsEach / trial));
  repeat(figures, [&] {
    const double time = timed(threads, [&](int) { run(iterations); });
    return double(peak.flops) * double(iterations) * threads / time;
  });
}

void copy_rates(int threads, double *figures) {
  const size_t bytes = std::max(kCopiedBytes / size_t(threads), kLeastCopiedByThread);
  struct Arrays {
    std::unique_ptr<char[]> from, to;
  };
  std::vector<Arrays> arrays(static_cast<size_t>(threads));
  for (Arrays &each : arrays)
    each = {std::unique_ptr<char[]>(new char[bytes]), std::unique_ptr<char[]>(new char[bytes])};
  // Pages come into being where they are first written: by the thread that will copy them.
  timed(threads, [&](int thread) {
    std::memset(arrays[size_t(thread)].from.get(), 1, bytes);
    std::memset(arrays[size_t(thread)].to.get(), 2, bytes);
  });
  repeat(figures, [&] {
    const double time = timed(threads, [&](int thread) {
      std::memcpy(arrays[size_t(thread)].to.get(), arrays[size_t(thread)].from.get(), bytes);
    });
    return 2.0 * double(bytes) * threads / time;
  });
}

void handover_times(double *figures) {
  repeat(figures, [] {
    alignas(128) std::atomic<int> ball{0};
    const double time = timed(2, [&](int thread) {
      for (int trip = 0; trip < kTrips; ++trip) {
        while (ball.load() != 2 * trip + thread) {
        }
        ball.store(2 * trip + thread + 1);
      }
    });
    return time / kTrips;
  });
}

}  // namespace

infonce_status measure(const infonce_context_options &options, int processors, int32_t limit,
                       double figures[INFONCE_FIGURES], infonce_failure *failure) {
  const bool uses_threads = limit != INFONCE_LIMIT_HANDOVER;
  if (uses_threads && (options.threads < 1 || options.threads > processors))
    return fail(failure, INFONCE_INVALID_ARGUMENT, INFONCE_NO_MATRIX, -1,
                "threads must be 1 to %d, the processors of this process", processors);
  return guarded(failure, [&] {
    switch (limit) {
      case INFONCE_LIMIT_MULTIPLY_ADDS: {
        const InstructionSet *set = find_instruction_set(options.instruction_set);
        if (!set) return invalid(failure, "instructionSet is none that this processor can run");
        multiply_add_rates(kernels_for(*set, options.precision), options.threads, figures);
        return INFONCE_OK;
      }
      case INFONCE_LIMIT_COPY:
        copy_rates(options.threads, figures);
        return INFONCE_OK;
      case INFONCE_LIMIT_HANDOVER:
        if (processors < 2)
          return fail(failure, INFONCE_DEVICE_UNAVAILABLE, INFONCE_NO_MATRIX, -1,
                      "this process may use one processor only");
        handover_times(figures);
        return INFONCE_OK;
      default:
        return invalid(failure, "unknown limit");
    }
  });
}

}  // namespace infonce::cpu

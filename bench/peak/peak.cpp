// What this machine's processor can do at most: fused multiply-adds and copied bytes per second.
//
//     peak fma ISA THREADS     ISA: avx512, avx2, x86-64 or neon, as infonce names them
//     peak copy THREADS
//     peak handover
//
// Prints one figure per repetition: GFLOP/s (2 FLOP per multiply-add), GB/s (bytes read plus bytes written), or the
// nanoseconds that a cache line takes from one processor to another and back.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <thread>
#include <vector>

namespace {

constexpr int kRepetitions = 5;
constexpr double kSecondsEach = 0.03;

// Read through volatile: a compiler that knows the factors may fold the loop and report a peak that is not there.
volatile float factor = 0.999f;
volatile float addend = 1e-3f;
volatile float first = 2.0f;
volatile float sink;

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

template <int Bytes>
struct Vector {
  typedef float type __attribute__((vector_size(Bytes)));
};

// The number of accumulators exceeds latency times issue width, so that no chain waits, and leaves two registers for the
// factors, so that nothing is spilled.
template <int Bytes, int Accumulators>
__attribute__((always_inline)) inline void fma_chain(long iterations) {
  using V = typename Vector<Bytes>::type;
  V accumulators[Accumulators];
  for (int i = 0; i < Accumulators; ++i) accumulators[i] = V{} + (first + static_cast<float>(i));
  const V a = V{} + factor;
  const V b = V{} + addend;
  for (long k = 0; k < iterations; ++k) {
#pragma GCC unroll 24
    for (int i = 0; i < Accumulators; ++i) accumulators[i] = accumulators[i] * a + b;
  }
  V total{};
  for (int i = 0; i < Accumulators; ++i) total += accumulators[i];
  sink = total[0];
}

struct Kernel {
  const char *name;
  double flops;  // For each iteration.
  void (*run)(long iterations);
};

#if defined(__x86_64__)
__attribute__((target("avx512f"))) void fma_avx512(long iterations) { fma_chain<64, 24>(iterations); }
__attribute__((target("avx2,fma"))) void fma_avx2(long iterations) { fma_chain<32, 14>(iterations); }
// SSE2 has 16 registers and no fused multiply-add: a multiplication and an addition, still 2 FLOP.
void fma_x86_64(long iterations) { fma_chain<16, 14>(iterations); }
const Kernel kKernels[] = {
    {"avx512", 2 * 24 * 16, fma_avx512},
    {"avx2", 2 * 14 * 8, fma_avx2},
    {"x86-64", 2 * 14 * 4, fma_x86_64},
};
#else
void fma_neon(long iterations) { fma_chain<16, 24>(iterations); }
const Kernel kKernels[] = {{"neon", 2 * 24 * 4, fma_neon}};
#endif

// Runs `work` on `threads` threads and returns the wall time from the moment all of them are awake.
double timed(int threads, const std::function<void(int)> &work) {
  std::atomic<int> asleep{threads};
  const auto start_together = [&](int t) {
    asleep.fetch_sub(1);
    while (asleep.load() > 0) std::this_thread::yield();
    work(t);
  };
  std::vector<std::thread> others;
  for (int t = 1; t < threads; ++t) others.emplace_back(start_together, t);
  asleep.fetch_sub(1);
  while (asleep.load() > 0) std::this_thread::yield();
  const double start = seconds();
  work(0);
  for (std::thread &other : others) other.join();
  return seconds() - start;
}

int measure_fma(const char *name, int threads) {
  for (const Kernel &kernel : kKernels) {
    if (std::strcmp(kernel.name, name) != 0) continue;
    const long trial = 200'000;
    kernel.run(trial);
    const double each = timed(1, [&](int) { kernel.run(trial); }) / trial;
    const long iterations = static_cast<long>(kSecondsEach / each);
    for (int r = 0; r < kRepetitions; ++r) {
      const double time = timed(threads, [&](int) { kernel.run(iterations); });
      std::printf("%.3f\n", kernel.flops * iterations * threads / time / 1e9);
    }
    return 0;
  }
  std::fprintf(stderr, "peak: no instruction set called '%s'\n", name);
  return 1;
}

int measure_copy(int threads) {
  const size_t bytes = size_t{128} << 20;  // For each thread; far beyond any last-level cache.
  std::vector<std::vector<char>> from(threads, std::vector<char>(bytes, 1));
  std::vector<std::vector<char>> to(threads, std::vector<char>(bytes, 2));
  for (int r = 0; r < kRepetitions; ++r) {
    const double time = timed(threads, [&](int t) { std::memcpy(to[t].data(), from[t].data(), bytes); });
    sink = to[0][bytes - 1];
    std::printf("%.3f\n", 2.0 * static_cast<double>(bytes) * threads / time / 1e9);
  }
  return 0;
}

int measure_handover() {
  constexpr int kTrips = 50'000;
  for (int r = 0; r < kRepetitions; ++r) {
    alignas(128) std::atomic<int> ball{0};
    const double time = timed(2, [&](int t) {
      for (int trip = 0; trip < kTrips; ++trip) {
        while (ball.load() != 2 * trip + t) {
        }
        ball.store(2 * trip + t + 1);
      }
    });
    std::printf("%.3f\n", time / kTrips * 1e9);
  }
  return 0;
}

}  // namespace

int main(int count, char **arguments) {
  if (count == 4 && std::strcmp(arguments[1], "fma") == 0) return measure_fma(arguments[2], std::atoi(arguments[3]));
  if (count == 3 && std::strcmp(arguments[1], "copy") == 0) return measure_copy(std::atoi(arguments[2]));
  if (count == 2 && std::strcmp(arguments[1], "handover") == 0) return measure_handover();
  std::fprintf(stderr, "usage: peak fma ISA THREADS | peak copy THREADS | peak handover\n");
  return 2;
}

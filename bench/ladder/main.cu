// `npm run bench:ladder` runs this: one problem by the portable kernels, by each step towards those for compute
// capability 9.0, and by those. Prints a line of JSON for the device and for each step. What cannot run ends with 3.
//
//   infonce_ladder ROWS DIM [--once]     --once: without times, for a simulator that counts
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <functional>
#include <limits>

#include "cuda/tensor_maps.h"
#include "steps.cuh"
#include "work.h"

namespace infonce::cuda::ladder {
namespace {

constexpr int kFailed = 1, kUsage = 2, kCannotRun = 3;
constexpr int kRounds = 11;
constexpr double kMicroseconds = 5000;  // of one timing: many launches where they are short
constexpr double kTolerance = 1e-3;     // weights are rounded to bfloat16, a few of them the other way

struct Step {
  const char *name;
  std::function<void()> clear, launch;
  std::function<std::vector<double>()> result;
};

struct Ladder {
  const char *name;
  double flop;
  std::vector<Step> steps;
};

template <class Work> Step step(const char *name, Work &work, std::function<void()> launch) {
  return {name, [&work] { work.clear(); }, std::move(launch), [&work] { return work.result(); }};
}

template <class Tile, class Kernel>
Step own_step(const char *name, Stream &stream, Gradient &work, Kernel kernel, int threads) {
  return step(name, work, [=, &stream, &work] {
    const Tower &tower = work.task().weights.owner;
    const float *weight = work.task().weights.other_weight;
    GradientMaps maps;
    maps.owner = map_of_planes(tower, kPlanes, Tile::kRows);
    maps.other = map_of_planes(tower, kPlanes, Tile::kColumns);
    maps.other_weight = map_of_vector(weight, tower.padded_rows, Tile::kColumns);
    const dim3 grid(blocks_of(tower.rows, Tile::kRows), unsigned(work.splits()));
    stream.launch(name, kernel, grid, threads, sizeof(typename Tile::Shared), work.task(), maps);
  });
}

// two: for blocks of two consumers.
template <int kDim>
std::vector<Step> gradient_steps(Stream &stream, Gradient &portable, Gradient &two, Gradient &sm90) {
  using Tile = sm90::GradientTile<1, kDim, 2>;
  const auto by_library = [&stream](Gradient &work, const Architecture &architecture) {
    return [&stream, &work, &architecture] { architecture.gradient(stream, kPlanes, work.task(), work.splits()); };
  };
  std::vector<Step> steps = {step("portable", portable, by_library(portable, Architecture::sm80())),
                             own_step<Tile>("one role", stream, two, in_one_role<Tile>, Tile::kConsumers * kWarpgroup),
                             own_step<Tile>("producer", stream, two, with_producer<Tile, InTurn>, Tile::kThreads),
                             own_step<Tile>("overlap", stream, two, with_producer<Tile, Overlapped>, Tile::kThreads)};
  const auto by_library_on_sm90 = by_library(sm90, Architecture::sm90());
  if constexpr (sm90::GradientTile<1, kDim>::kConsumers == 2) {
    steps.push_back(step("turns", sm90, by_library_on_sm90));
  } else {
    steps.push_back(own_step<Tile>("turns", stream, two, sm90::gradient<Tile>, Tile::kThreads));
    steps.push_back(step("third consumer", sm90, by_library_on_sm90));
  }
  return steps;
}

// Relative to the largest; infinite where there is no number.
double error_of(const std::vector<double> &found, const std::vector<double> &expected) {
  double error = 0, largest = 0;
  for (size_t k = 0; k < found.size(); ++k) {
    if (!std::isfinite(found[k])) return std::numeric_limits<double>::infinity();
    error = std::max(error, std::abs(found[k] - expected[k]));
    largest = std::max(largest, std::abs(expected[k]));
  }
  return error / largest;
}

class Clock {
 public:
  explicit Clock(Stream &stream) : stream_(stream) {
    for (cudaEvent_t &event : events_) check(cudaEventCreate(&event), "making an event");
  }
  ~Clock() {
    for (cudaEvent_t event : events_) cudaEventDestroy(event);
  }
  Clock(const Clock &) = delete;
  Clock &operator=(const Clock &) = delete;

  // The mean over launches that are queued back to back.
  double microseconds(const Step &step, int launches) {
    check(cudaEventRecord(events_[0], stream_.handle()), "recording an event");
    for (int k = 0; k < launches; ++k) step.launch();
    check(cudaEventRecord(events_[1], stream_.handle()), "recording an event");
    stream_.synchronize(events_[1]);
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, events_[0], events_[1]), "reading events");
    return 1e3 * double(milliseconds) / launches;
  }

 private:
  Stream &stream_;
  cudaEvent_t events_[2];
};

// By step. They take turns: clocks change while a device warms up.
std::vector<std::vector<double>> times(Stream &stream, const std::vector<Step> &steps) {
  Clock clock(stream);
  std::vector<int> launches;
  for (const Step &step : steps)
    launches.push_back(1 + int(kMicroseconds / std::max(1.0, clock.microseconds(step, 1))));
  std::vector<std::vector<double>> found(steps.size());
  for (int round = 0; round < kRounds; ++round)
    for (size_t k = 0; k < steps.size(); ++k) found[k].push_back(clock.microseconds(steps[k], launches[k]));
  return found;
}

// Whether every step agrees with the first.
bool climb(Stream &stream, const Ladder &ladder, bool once) {
  std::vector<std::vector<double>> results;
  for (const Step &step : ladder.steps) {
    step.clear();
    step.launch();
    stream.synchronize();
    results.push_back(step.result());
  }
  std::vector<std::vector<double>> microseconds(results.size());
  if (!once) microseconds = times(stream, ladder.steps);

  bool right = true;
  for (size_t k = 0; k < results.size(); ++k) {
    const double error = error_of(results[k], results[0]);
    right = right && error <= kTolerance;
    std::printf(R"({"ladder": "%s", "step": "%s", "flop": %.0f, "error": %g, "sameBits": %s, "us": [)", ladder.name,
                ladder.steps[k].name, ladder.flop, std::min(error, 1e30),
                k > 0 && results[k] == results[k - 1] ? "true" : "false");
    for (size_t round = 0; round < microseconds[k].size(); ++round)
      std::printf("%s%.3f", round ? ", " : "", microseconds[k][round]);
    std::printf("]}\n");
  }
  return right;
}

// 0, or what the program ends with where it cannot run. On compute capability 9.0 that is a failure: these kernels have to
// be there.
int why_not_here() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0)
    return std::fprintf(stderr, "there is no GPU\n"), kCannotRun;
  cudaDeviceProp device;
  check(cudaGetDeviceProperties(&device, 0), "asking the device");
  if (device.major != 9 || device.minor != 0)
    return std::fprintf(stderr, "%s is not of compute capability 9.0\n", device.name), kCannotRun;
  if (const std::string problem = why_no_tensor_maps(0); !problem.empty())
    return std::fprintf(stderr, "%s\n", problem.c_str()), kFailed;
  int kilohertz = 0;
  check(cudaDeviceGetAttribute(&kilohertz, cudaDevAttrClockRate, 0), "asking the device");
  std::printf(R"({"device": "%s", "multiprocessors": %d, "kilohertz": %d})"
              "\n",
              device.name, device.multiProcessorCount, kilohertz);
  return 0;
}

int run(int64_t rows, int64_t dim, bool once) {
  if (const int status = why_not_here()) return status;
  Kernels kernels(UseOfSm90::kAlways);
  Stream stream(kernels);
  const Problem problem(stream, rows, dim);
  const double products = double(rows) * double(rows) * double(dim);

  LogSumExp portable_sums(stream, problem, Architecture::sm80()), sm90_sums(stream, problem, Architecture::sm90());
  const Ladder sums = {"log-sum-exp",
                       products,  // half of them, two FLOP each
                       {step("portable", portable_sums, [&] { portable_sums.launch(); }),
                        step("turns", sm90_sums, [&] { sm90_sums.launch(); })}};
  bool right = climb(stream, sums, once);

  Gradient portable(stream, problem, Architecture::sm80()), sm90(stream, problem, Architecture::sm90());
  constexpr int kRowsOfTwo = sm90::GradientTile<1, 128>::kRows;
  Gradient two(problem, splits_for(tiles_of(rows, kRowsOfTwo), stream.hardware().multiprocessors, rows / 512,
                                   bytes_of_accumulators(rows, dim)));
  const Ladder gradients = {"gradient", 4 * products,
                            dim == 64    ? gradient_steps<64>(stream, portable, two, sm90)
                            : dim == 128 ? gradient_steps<128>(stream, portable, two, sm90)
                                         : gradient_steps<256>(stream, portable, two, sm90)};
  right = climb(stream, gradients, once) && right;
  if (!right) std::fprintf(stderr, "a step differs from the portable kernel by more than %g\n", kTolerance);
  return right ? 0 : kFailed;
}

}  // namespace
}  // namespace infonce::cuda::ladder

int main(int count, char **words) {
  using namespace infonce::cuda::ladder;
  std::setvbuf(stdout, nullptr, _IOLBF, 1 << 12);  // what was measured is told before what comes next can fail
  const bool once = count == 4 && std::strcmp(words[3], "--once") == 0;
  const long long rows = count > 2 ? std::atoll(words[1]) : 0, dim = count > 2 ? std::atoll(words[2]) : 0;
  if ((count != 3 && !once) || rows < 2 || rows % 2 || (dim != 64 && dim != 128 && dim != 256)) {
    std::fprintf(stderr,
                 "infonce_ladder ROWS DIM [--once], with an even number of rows and dimension 64, 128 or 256\n");
    return kUsage;
  }
  try {
    return run(rows, dim, once);
  } catch (const std::exception &error) {
    std::fprintf(stderr, "%s\n", error.what());
    return kFailed;
  }
}

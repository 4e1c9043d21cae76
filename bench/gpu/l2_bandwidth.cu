// How fast the multiprocessors read what lies in the L2 cache. Prints a line of JSON for each size of buffer.
//
//   infonce_l2_bandwidth [--once] [MEGABYTES ...]     --once: one short reading of each, for a simulator
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

constexpr int kThreads = 512, kBlocksOfSm = 2, kUnroll = 4;
constexpr int kRounds = 11, kWarmUps = 2;
constexpr double kBytesOfReading = 4e9;  // of one timing: about a millisecond
constexpr int kFailed = 1, kUsage = 2, kCannotRun = 3;

void check(cudaError_t code, const char *what) {
  if (code != cudaSuccess) throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(code));
}

// All blocks together read the buffer `passes` times, past the L1 cache. The sum of all words shows that they did.
__global__ void __launch_bounds__(kThreads, kBlocksOfSm)
    read(const uint4 *buffer, int count, int passes, unsigned *sum, long long *clocks) {
  const long long begin = clock64();
  const int stride = int(gridDim.x) * kThreads;
  const int first = int(blockIdx.x) * kThreads + int(threadIdx.x);
  unsigned own = 0;
  for (int pass = 0; pass < passes; ++pass)
    for (int at = first; at < count; at += kUnroll * stride) {
      uint4 words[kUnroll];
#pragma unroll
      for (int k = 0; k < kUnroll; ++k)
        words[k] = at + k * stride < count ? __ldcg(buffer + at + k * stride) : uint4{0, 0, 0, 0};
#pragma unroll
      for (int k = 0; k < kUnroll; ++k) own += words[k].x + words[k].y + words[k].z + words[k].w;
    }
  __syncthreads();
  if (threadIdx.x == 0) clocks[blockIdx.x] = clock64() - begin;
  atomicAdd(sum, own);
}

__global__ void fill(uint4 *buffer, int count) {
  for (int at = int(blockIdx.x * blockDim.x + threadIdx.x); at < count; at += int(gridDim.x * blockDim.x))
    buffer[at] = {1, 1, 1, 1};
}

template <class T> struct Array {
  explicit Array(size_t count) { check(cudaMalloc(reinterpret_cast<void **>(&at), count * sizeof(T)), "memory"); }
  ~Array() { cudaFree(at); }
  Array(const Array &) = delete;
  Array &operator=(const Array &) = delete;
  T *at = nullptr;
};

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + long(values.size() / 2), values.end());
  return values[values.size() / 2];
}

void measure(int megabytes, int multiprocessors, bool once) {
  const int count = int((size_t(megabytes) << 20) / sizeof(uint4));
  const double bytes = double(count) * sizeof(uint4);
  const int passes = once ? 1 : std::max(1, int(kBytesOfReading / bytes));
  const int blocks = kBlocksOfSm * multiprocessors;
  const Array<uint4> buffer(static_cast<size_t>(count));
  const Array<unsigned> sum(1);
  const Array<long long> clocks(static_cast<size_t>(blocks));
  cudaEvent_t events[2];
  for (cudaEvent_t &event : events) check(cudaEventCreate(&event), "making an event");
  fill<<<blocks, kThreads>>>(buffer.at, count);

  std::vector<double> seconds, cycles;
  for (int round = once ? kWarmUps : 0; round < (once ? 1 : kRounds) + kWarmUps; ++round) {
    check(cudaMemset(sum.at, 0, sizeof *sum.at), "filling memory");
    check(cudaEventRecord(events[0]), "recording an event");
    read<<<blocks, kThreads>>>(buffer.at, count, passes, sum.at, clocks.at);
    check(cudaGetLastError(), "launching a kernel");
    check(cudaEventRecord(events[1]), "recording an event");
    check(cudaEventSynchronize(events[1]), "reading");
    unsigned found = 0;
    check(cudaMemcpy(&found, sum.at, sizeof found, cudaMemcpyDeviceToHost), "copying");
    if (found != 4u * unsigned(count) * unsigned(passes)) throw std::runtime_error("the words read have another sum");
    if (round < kWarmUps) continue;
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, events[0], events[1]), "reading events");
    std::vector<long long> of_blocks(static_cast<size_t>(blocks));
    check(cudaMemcpy(of_blocks.data(), clocks.at, of_blocks.size() * sizeof of_blocks[0], cudaMemcpyDeviceToHost),
          "copying");
    seconds.push_back(1e-3 * double(milliseconds));
    cycles.push_back(double(*std::max_element(of_blocks.begin(), of_blocks.end())));
  }
  for (cudaEvent_t event : events) cudaEventDestroy(event);
  const double time = median(seconds), clock = median(cycles);
  std::printf(R"({"megabytes": %d, "passes": %d, "samples": %zu, "gigabytesPerSecond": %.6g, )"
              R"("bytesPerClockAndMultiprocessor": %.6g, "megahertz": %.6g})"
              "\n",
              megabytes, passes, seconds.size(), passes * bytes / time / 1e9,
              passes * bytes / multiprocessors / std::max(clock, 1.0), clock / time / 1e6);
}

int run(const std::vector<int> &sizes, bool once) {
  int devices = 0, multiprocessors = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0)
    return std::fprintf(stderr, "there is no GPU\n"), kCannotRun;
  check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, 0), "asking the device");
  for (const int megabytes : sizes) measure(megabytes, multiprocessors, once);
  return 0;
}

}  // namespace

int main(int count, char **words) {
  std::setvbuf(stdout, nullptr, _IOLBF, 1 << 12);
  bool once = false;
  std::vector<int> sizes;
  for (int k = 1; k < count; ++k)
    if (std::strcmp(words[k], "--once") == 0) once = true;
    else sizes.push_back(std::atoi(words[k]));
  if (sizes.empty()) sizes = {8, 16, 24, 32};
  if (*std::min_element(sizes.begin(), sizes.end()) < 1 || *std::max_element(sizes.begin(), sizes.end()) > 1024) {
    std::fprintf(stderr, "infonce_l2_bandwidth [--once] [MEGABYTES ...], 1 to 1024 each\n");
    return kUsage;
  }
  try {
    return run(sizes, once);
  } catch (const std::exception &error) {
    std::fprintf(stderr, "%s\n", error.what());
    return kFailed;
  }
}

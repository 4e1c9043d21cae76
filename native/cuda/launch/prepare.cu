#include "cuda/kernels/prepare.cuh"

#include <algorithm>

#include "common/constants.h"
#include "cuda/launch/launch.h"
#include "infonce/infonce.h"

#include <cuda_fp16.h>

namespace infonce::cuda {
namespace {

constexpr int kThreads = 256;
static_assert(kThreads == kRowsPerBlock * kWarp, "a warp a row");

}  // namespace

void widen(Stream &stream, bool is_float16, const void *from, float *to, int64_t count) {
  constexpr int64_t kBlocks = 8;  // for each multiprocessor
  const unsigned blocks = std::min(blocks_of(count, kThreads), unsigned(kBlocks * stream.multiprocessors()));
  if (is_float16)
    stream.launch("widen", widen<__half>, blocks, kThreads, 0, static_cast<const __half *>(from), to, count);
  else
    stream.launch("widen", widen<__nv_bfloat16>, blocks, kThreads, 0, static_cast<const __nv_bfloat16 *>(from), to,
                  count);
}

void bring_together(Stream &stream, int32_t type, const void *from, int64_t stride, float *to, int64_t rows,
                    int64_t dim) {
  const auto launch = [&](auto kernel, const auto *numbers) {
    stream.launch("bring_together", kernel, blocks_of(rows, kRowsPerBlock), kThreads, 0, numbers, stride, to, rows,
                  dim);
  };
  if (type == INFONCE_FLOAT16) launch(bring_together<__half>, static_cast<const __half *>(from));
  else if (type == INFONCE_BFLOAT16) launch(bring_together<__nv_bfloat16>, static_cast<const __nv_bfloat16 *>(from));
  else launch(bring_together<float>, static_cast<const float *>(from));
}

void prepare(Stream &stream, Planes planes, const std::vector<PrepareTask> &tasks) {
  const auto kernel = planes == Planes::kMedium ? prepare<1> : planes == Planes::kHigh ? prepare<2> : prepare<3>;
  for (size_t first = 0; first < tasks.size(); first += PrepareTasks::kMost) {
    PrepareTasks together{};
    unsigned blocks = 0;
    for (size_t t = first; t < std::min(tasks.size(), first + PrepareTasks::kMost); ++t) {
      together.of[together.count] = tasks[t];
      together.first_block[together.count++] = blocks;
      blocks += blocks_of(tasks[t].tower.padded_rows, kRowsPerBlock);
    }
    stream.launch("prepare", kernel, blocks, kThreads, 0, together);
  }
}

void measure_upstream(Stream &stream, const float *values, int64_t count, Report *report) {
  stream.launch("measure_upstream", measure_upstream, blocks_of(count, kThreads), kThreads, 0, values, count,
                kUpstreamInput, report);
}

void judge_logits(Stream &stream, int anchors, uint32_t others, double scale, double largest, Report *report) {
  stream.launch("judge_logits", judge_logits, 1, 1, 0, anchors, others, scale, largest, report);
}

void sum_classes(Stream &stream, const Tower &tower, const Tower &memory, const ClassSums &classes) {
  constexpr int64_t kMostParts = 65535;
  const int64_t parts = std::min<int64_t>(blocks_of(tower.dim, kClassDims), kMostParts);
  stream.launch("sum_classes", sum_classes, dim3(unsigned(classes.count), unsigned(parts)), kClassDims * kClassRows, 0,
                tower, memory, classes);
}

void judge_classes(Stream &stream, const ClassSums &classes, int64_t dim, double scale, Report *report) {
  stream.launch("judge_classes", judge_classes, blocks_of(classes.count, kRowsPerBlock), kThreads, 0, classes, dim,
                scale, kLeastSpread, report);
}

}  // namespace infonce::cuda

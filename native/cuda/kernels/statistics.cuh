// Puts the partial statistics of a launch together: a thread a row, and a column of the same number.
#pragma once

#include "cuda/kernels/partial_sums.cuh"
#include "cuda/kernels/trace.cuh"

namespace infonce::cuda {

__global__ void add_statistics(Trace trace, const __grid_constant__ AddStatisticsTask task) {
  trace.mark();
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  add_row(task, i);
  add_column(task, i);
}

}  // namespace infonce::cuda

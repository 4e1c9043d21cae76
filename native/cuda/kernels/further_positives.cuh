// Positives by id beside the one by index: pairs that the tiles leave out. A row finds its own by comparing ids, which
// takes far less than the dot products of its tiles.
#pragma once

#include "common/row_loss.h"
#include "cuda/kernels/exact_row.cuh"
#include "cuda/kernels/trace.cuh"

namespace infonce::cuda {

// visit(k) by the whole warp, for each of 0 ... count - 1 that holds, in ascending order.
template <class Holds, class Visit>
__device__ void for_each_that_holds(int64_t count, const Holds &holds, const Visit &visit) {
  for (int64_t first = 0; first < count; first += kWarp) {
    const int64_t k = first + threadIdx.x % kWarp;
    unsigned found = __ballot_sync(kAllLanes, k < count && holds(k));
    for (; found; found &= found - 1) visit(first + __ffs(found) - 1);
  }
}

// Sums over the further positives of each row of a softmax: the anchors, or the candidates. A warp a row.
template <bool kOfCandidates>
__global__ void further_positives(Trace trace, const __grid_constant__ FurtherTask task,
                                  const __grid_constant__ FurtherSums sums, bool add) {
  trace.mark();
  if (trace.is_cancelled()) return;
  const Tower &tower = kOfCandidates ? task.candidates : task.anchors;
  const Tower &others = kOfCandidates ? task.anchors : task.candidates;
  const int64_t row = int64_t(trace.block()) * kRowsPerBlock + threadIdx.x / kWarp;
  if (row >= tower.rows) return;
  const bool first_lane = threadIdx.x % kWarp == 0;
  const ExactRow u(tower, row);
  double log_sum_exp = add ? sums.log_sum_exp[row] : -INFINITY, sum = add ? sums.sum[row] : 0;
  int32_t count = add ? sums.count[row] : 0;
  for_each_that_holds(
      others.rows, [&](int64_t k) { return kOfCandidates ? task.holds(k, row) : task.holds(row, k); },
      [&](int64_t k) {
        const ExactRow v(others, k);
        const double dot = sum_over_dim(tower.dim, [&](int64_t d) { return u[d] * v[d]; });
        const double logit = task.logit(dot, kOfCandidates ? row : k), most = max(log_sum_exp, logit);
        log_sum_exp = most + log(exp(log_sum_exp - most) + exp(logit - most));
        sum += logit;
        ++count;
      });
  if (!first_lane) return;
  sums.log_sum_exp[row] = log_sum_exp;
  sums.sum[row] = sum;
  sums.count[row] = count;
}

// What the anchors, or the candidates, get of the other rows of these pairs. A warp a row.
template <bool kOfCandidates>
__global__ void further_gradients(Trace trace, const __grid_constant__ FurtherTask task,
                                  const __grid_constant__ FurtherSums of_anchors,
                                  const __grid_constant__ FurtherSums of_candidates, double *accumulators) {
  trace.mark();
  if (trace.is_cancelled()) return;
  const Tower &tower = kOfCandidates ? task.candidates : task.anchors;
  const Tower &others = kOfCandidates ? task.anchors : task.candidates;
  const int64_t row = int64_t(trace.block()) * kRowsPerBlock + threadIdx.x / kWarp;
  if (row >= tower.rows) return;
  const ExactRow u(tower, row);
  const auto weight = [](const Direction &direction, const FurtherSums &sums, int64_t i, double logit) {
    return direction.upstream[i] * RowLoss<INFONCE_ROW_LOSS_CROSS_ENTROPY>::pair_weight(true, 1 + sums.count[i], logit,
                                                                                        direction.log_sum_exp[i], 0.0);
  };
  for_each_that_holds(
      others.rows, [&](int64_t k) { return kOfCandidates ? task.holds(k, row) : task.holds(row, k); },
      [&](int64_t k) {
        const ExactRow v(others, k);
        const double dot = sum_over_dim(tower.dim, [&](int64_t d) { return u[d] * v[d]; });
        const int64_t i = kOfCandidates ? k : row, j = kOfCandidates ? row : k;
        const double logit = task.logit(dot, j);
        double both = weight(task.of_rows, of_anchors, i, logit);
        if (task.has_columns) both += weight(task.of_columns, of_candidates, j, logit);
        for (int64_t d = threadIdx.x % kWarp; d < tower.dim; d += kWarp)
          accumulators[row * tower.padded_dim + d] += both * v[d];
      });
}

}  // namespace infonce::cuda

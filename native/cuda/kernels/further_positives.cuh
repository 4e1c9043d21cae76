// Positives by id that tiles leave out: beside the one by index, or in parts. A row finds its own by comparing ids, which
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

// visit(k, dot product, their row) of a row and each of its further positives.
template <bool kOfCandidates, class Visit>
__device__ void for_each_further(const FurtherTask &task, int64_t row, const ExactRow &u, const Visit &visit) {
  const Tower &others = kOfCandidates ? task.anchors : task.candidates;
  for_each_that_holds(
      others.rows, [&](int64_t k) { return kOfCandidates ? task.holds(k, row) : task.holds(row, k); },
      [&](int64_t k) {
        const ExactRow v(others, k);
        visit(k, sum_over_dim(others.dim, [&](int64_t d) { return u[d] * v[d]; }), v);
      });
}

__device__ inline double length_of(const Tower &tower, const ExactRow &u) {
  return tower.normalize ? 1 : sqrt(sum_over_dim(tower.dim, [&](int64_t d) { return u[d] * u[d]; }));
}

// Adds those of each row of a softmax to its sums: of the anchors, or of the candidates. A warp a row.
template <bool kOfCandidates>
__global__ void further_positives(Trace trace, const __grid_constant__ FurtherTask task,
                                  const __grid_constant__ FurtherSums sums) {
  trace.mark();
  if (trace.is_cancelled()) return;
  const Tower &tower = kOfCandidates ? task.candidates : task.anchors;
  const int64_t row = int64_t(trace.block()) * kRowsPerBlock + threadIdx.x / kWarp;
  if (row >= tower.rows || (!kOfCandidates && !task.meets(row))) return;
  const ExactRow u(tower, row);
  int32_t count = sums.count[row], above = 0;
  double log_sum_exp = count > 0 ? sums.log_sum_exp[row] : -INFINITY, sum = sums.sum[row];
  const double first = !task.ranks ? INFINITY : (kOfCandidates ? task.first_of_candidates : task.first_of_anchors)[row];
  const double tie = task.ranks ? kTie * task.scale * length_of(tower, u) : 0;
  for_each_further<kOfCandidates>(task, row, u, [&](int64_t k, double dot, const ExactRow &v) {
    const double logit = task.logit(dot, kOfCandidates ? row : k), most = max(log_sum_exp, logit);
    log_sum_exp = most + log(exp(log_sum_exp - most) + exp(logit - most));
    sum += logit;
    ++count;
    if (task.ranks) above += logit > first + tie * length_of(kOfCandidates ? task.anchors : task.candidates, v);
  });
  if (threadIdx.x % kWarp) return;
  sums.count[row] = count;
  sums.log_sum_exp[row] = log_sum_exp;
  sums.sum[row] = sum;
  if (task.ranks) (kOfCandidates ? task.of_columns : task.of_rows).above[row] += above;
}

// The terms that they have of their own, when the sums over negatives are complete: those before and these. A warp a row.
template <bool kOfCandidates>
__global__ void further_terms(Trace trace, const __grid_constant__ FurtherTask task,
                              const __grid_constant__ FurtherSums before, const __grid_constant__ FurtherSums to) {
  trace.mark();
  if (trace.is_cancelled()) return;
  const Tower &tower = kOfCandidates ? task.candidates : task.anchors;
  const int64_t row = int64_t(trace.block()) * kRowsPerBlock + threadIdx.x / kWarp;
  if (row >= tower.rows || (!kOfCandidates && !task.meets(row))) return;
  const Direction &direction = kOfCandidates ? task.of_columns : task.of_rows;
  const double log_sum = direction.sum[row] > 0 ? direction.offset[row] + log(direction.sum[row]) : -INFINITY;
  PositiveTerms terms = {before.term_losses[row], before.term_shares[row]};
  for_each_further<kOfCandidates>(task, row, ExactRow(tower, row), [&](int64_t k, double dot, const ExactRow &) {
    terms.add(log_sum - task.logit(dot, kOfCandidates ? row : k));
  });
  if (threadIdx.x % kWarp) return;
  to.term_losses[row] = terms.losses;
  to.term_shares[row] = terms.shares;
}

// What the anchors, or the candidates, get of the other rows of these pairs. A warp a row.
template <int32_t kRowLoss, bool kOfCandidates>
__global__ void further_gradients(Trace trace, const __grid_constant__ FurtherTask task,
                                  const __grid_constant__ FurtherSums of_anchors,
                                  const __grid_constant__ FurtherSums of_candidates, double *accumulators) {
  trace.mark();
  if (trace.is_cancelled()) return;
  const Tower &tower = kOfCandidates ? task.candidates : task.anchors;
  const int64_t row = int64_t(trace.block()) * kRowsPerBlock + threadIdx.x / kWarp;
  if (row >= tower.rows || (!kOfCandidates && !task.meets(row))) return;
  const auto weight = [&](const Direction &direction, const FurtherSums &sums, int64_t i, double logit) {
    const int64_t positives = sums.count[i] + (task.by_index ? 1 : 0);
    // That of an only one is smoothed already.
    const double smoothed = positives > 1 ? task.smoothing / double(positives) : 0;
    return direction.upstream[i] *
           (smoothed +
            RowLoss<kRowLoss>::pair_weight(true, positives, logit, direction.log_sum_exp[i], direction.rest_share[i]));
  };
  const int64_t first = !kOfCandidates && task.are_some ? tower.source_row(row) - task.first_anchor : row;
  for_each_further<kOfCandidates>(task, row, ExactRow(tower, row), [&](int64_t k, double dot, const ExactRow &v) {
    const int64_t i = kOfCandidates ? k : row, j = kOfCandidates ? row : k;
    const double logit = task.logit(dot, j);
    double both = weight(task.of_rows, of_anchors, i, logit);
    if (task.has_columns) both += weight(task.of_columns, of_candidates, j, logit);
    for (int64_t d = threadIdx.x % kWarp; d < tower.dim; d += kWarp)
      accumulators[first * tower.padded_dim + d] += both * v[d];
  });
}

}  // namespace infonce::cuda

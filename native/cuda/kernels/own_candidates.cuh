// Candidates of an anchor's own beside blocks that all anchors share: a block for each anchor. What they add
// to the row's sums, and later what they and the anchor give each other. Float64 sums of float32 rows.
#pragma once

#include "cuda/kernels/paired_negatives.cuh"

namespace infonce::cuda {

// Adds them to the sums of the anchor's softmax, which are there already. Grid: x anchors, as prepared. Threads: up to
// kPairedWarps warps.
template <int kWidth>
__global__ void __launch_bounds__(kPairedWarps *kWarp)
    own_statistics(Trace trace, const __grid_constant__ OwnTask task) {
  trace.mark();
  if (trace.is_cancelled()) return;
  __shared__ double maximum_of[kPairedWarps], sum_of[kPairedWarps];
  __shared__ int32_t above_of[kPairedWarps];
  const Tower &anchors = task.anchors;
  const int64_t i = trace.block(), dim = anchors.dim, source = anchors.source_row(i), count = task.count_of(source);
  const int warps = blockDim.x / kWarp, warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const float *anchor = anchors.source + source * anchors.source_stride;
  double2 *pairs = task.pairs + source * task.each;
  PairedRow itself[1];
  measure<kWidth>(itself, anchor, {anchor}, dim);
  const double inverse = anchors.inverse_norm[i], length = inverse * sqrt(itself[0].square);
  const double positive = task.positive_logit[i];

  double maximum = -INFINITY;
  int32_t above = 0;
  for (int64_t first = warp * kPairedBatch; first < count; first += warps * kPairedBatch) {
    const float *rows[kPairedBatch];
#pragma unroll
    for (int b = 0; b < kPairedBatch; ++b) rows[b] = task.own_row(source, min(first + b, count - 1));
    PairedRow batch[kPairedBatch];
    measure<kWidth>(batch, anchor, rows, dim);
#pragma unroll
    for (int b = 0; b < kPairedBatch; ++b) {
      if (first + b >= count) break;
      const double of_row = batch[b].inverse_norm(anchors.normalize), dot = batch[b].dot * inverse * of_row;
      maximum = max(maximum, task.logit_scale * dot);
      const double tie = kTie * task.scale * length * of_row * sqrt(batch[b].square);
      if (task.ranks) above += task.scale * dot > positive + tie;
      if (lane > 0) continue;
      pairs[first + b] = make_double2(dot, of_row);
      if (!batch[b].is_finite()) task.report->add_bad_row(task.matrix, task.row_of(source, first + b));
    }
  }
  if (lane == 0) maximum_of[warp] = maximum, above_of[warp] = above;
  __syncthreads();
  for (int w = 0; w < warps; ++w) maximum = max(maximum, maximum_of[w]);
  double sum = 0;
  for (int64_t h = threadIdx.x; h < count; h += blockDim.x) sum += exp(task.logit_scale * pairs[h].x - maximum);
  sum = warp_sum(sum);
  if (lane == 0) sum_of[warp] = sum;
  __syncthreads();
  if (threadIdx.x > 0 || count == 0) return;
  const Direction &softmax = task.softmax;
  const double before = softmax.sum[i] > 0 ? softmax.offset[i] : -INFINITY, both = max(maximum, before);
  const auto share = [&](double of, double offset) { return of == 0 ? 0 : of * exp(offset - both); };
  softmax.sum[i] = share(sum_of_warps(sum_of, warps), maximum) + share(softmax.sum[i], before);
  softmax.offset[i] = both;
  softmax.above[i] += sum_of_warps(above_of, warps);
}

// Writes what the anchors get into sums of their own, and the gradients of the candidates if they are wanted. Grid and
// threads as above.
template <int kWidth>
__global__ void __launch_bounds__(kPairedWarps *kWarp)
    own_gradients(Trace trace, const __grid_constant__ OwnTask task) {
  trace.mark();
  if (trace.is_cancelled()) return;
  __shared__ double gradient_of[kPairedWarps][Lanes<kWidth>::kDims];
  const Tower &anchors = task.anchors;
  const int64_t i = trace.block(), dim = anchors.dim, source = anchors.source_row(i), count = task.count_of(source);
  const int warps = blockDim.x / kWarp, warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const float *anchor = anchors.source + source * anchors.source_stride;
  double2 *shares = task.shares + source * task.each;
  const double g = task.softmax.upstream[i], log_sum_exp = task.softmax.log_sum_exp[i];
  const double factor = task.scale * task.upstream.scale(), anchor_factor = factor * anchors.inverse_norm[i];
  for (int64_t h = threadIdx.x; h < count; h += blockDim.x) {
    const double2 pair = task.pairs[source * task.each + h];
    const double weight = g * negative_weight(task.logit_scale * pair.x, log_sum_exp);
    const PairedShare share = PairedShare::of(weight, factor, pair.x, pair.y, anchors.normalize);
    shares[h] = make_double2(share.add, share.along);
  }
  __syncthreads();

  for (int64_t dims = 0; dims < dim; dims += Lanes<kWidth>::kDims) {
    const auto u = Lanes<kWidth>::load(anchor, dims, dim);
    double gradient[kWidth] = {};
    for (int64_t first = warp * kPairedBatch; first < count; first += warps * kPairedBatch) {
      Lanes<kWidth> v[kPairedBatch];
      double2 share[kPairedBatch];
#pragma unroll
      for (int b = 0; b < kPairedBatch; ++b) {
        const int64_t h = min(first + b, count - 1);
        v[b] = Lanes<kWidth>::load(task.own_row(source, h), dims, dim);
        share[b] = shares[h];
      }
#pragma unroll
      for (int b = 0; b < kPairedBatch; ++b) {
        if (first + b >= count) break;
        const PairedShare of_row = {share[b].x, share[b].y};
#pragma unroll
        for (int q = 0; q < kWidth; ++q) gradient[q] = fma(of_row.add, double(v[b].at[q]), gradient[q]);
        if (!task.gradients) continue;
        float *out = task.gradients + task.row_of(source, first + b) * dim;
        of_row.gradient(v[b], u, anchor_factor).store(out, dims, dim);
      }
    }
    for (int64_t h = count + warp; task.gradients && h < task.each; h += warps)
      Lanes<kWidth>{}.store(task.gradients + task.row_of(source, h) * dim, dims, dim);
#pragma unroll
    for (int q = 0; q < kWidth; ++q) gradient_of[warp][lane * kWidth + q] = gradient[q];
    __syncthreads();
    for (int64_t d = threadIdx.x; d < Lanes<kWidth>::kDims && dims + d < dim; d += blockDim.x) {
      double total = 0;
      for (int w = 0; w < warps; ++w) total += gradient_of[w][d];
      task.sums[i * anchors.padded_dim + dims + d] = total;
    }
    __syncthreads();
  }
}

// Adds what candidates among others get of the anchors whose own they are to their accumulators. A warp a candidate.
__global__ void add_anchors(Trace trace, const __grid_constant__ OwnTask task, const __grid_constant__ Tower candidates,
                            double *accumulators) {
  trace.mark();
  const int64_t j = int64_t(trace.block()) * kRowsPerBlock + threadIdx.x / kWarp, anchors = task.anchors.rows;
  if (j >= candidates.rows) return;
  const int64_t i = j % anchors;
  const double logit = task.logit_scale * task.pairs[i * task.each + j / anchors].x;
  const double weight = task.softmax.upstream[i] * negative_weight(logit, task.softmax.log_sum_exp[i]);
  const ExactRow anchor(task.anchors, i);
  for (int64_t d = threadIdx.x % kWarp; d < candidates.dim; d += kWarp)
    accumulators[j * candidates.padded_dim + d] += weight * anchor[d];
}

}  // namespace infonce::cuda

// What a call brings to the device. Copies of page-locked arrays are queued with the kernels; pageable ones go through
// staging buffers, which the processor fills.
#include <algorithm>
#include <vector>

#include "cuda/steps/steps.h"

namespace infonce::cuda::steps {

namespace {

void tell_bad_row(const Work &work, int input, int64_t row) {
  const auto complement = ~static_cast<unsigned long long>(row);
  work.lane->staging.upload(work.stream(), &work.buffers.report->bad_row[input], &complement, sizeof complement);
}

// In the order of prepared rows.
template <class T> void upload_by_row(const Work &work, int matrix, T *to, const T *from) {
  std::vector<T> rows(to ? work.problem.matrices[matrix].rows : 0);
  for (size_t r = 0; r < rows.size(); ++r) rows[r] = from[work.source_row(matrix, int64_t(r))];
  if (to) work.lane->staging.upload(work.stream(), to, rows.data(), rows.size() * sizeof(T));
}

void upload_masks(const Work &work) {
  work.for_each_brought_matrix([&](int m) {
    const infonce_matrix &matrix = work.problem.matrices[m];
    upload_by_row(work, m, work.buffers.ids[m], matrix.ids);
    upload_by_row(work, m, work.buffers.bias[m], matrix.bias);
  });
  if (int32_t *counts = work.phase.is_part ? nullptr : work.buffers.own_counts) {
    // Clamped: by now another may stand there than the one that was found right.
    std::vector<int32_t> copy(work.rows());
    const int64_t most = work.choice.rows(work.choice.own);
    for (size_t i = 0; i < copy.size(); ++i)
      copy[i] = int32_t(std::clamp<int64_t>(work.problem.matrices[work.choice.own].counts[i], 0, most));
    work.lane->staging.upload(work.stream(), counts, copy.data(), copy.size() * sizeof(int32_t));
  }
  if (!work.phase.is_part)
    upload_by_row(work, work.anchors(), work.buffers.target_numbers, work.problem.softmaxes[0].targets);
  if (const BadRow bad = first_bad_bias(work.problem); bad.row >= 0) tell_bad_row(work, bad.matrix, bad.row);
  if (work.bad_number.row >= 0) tell_bad_row(work, work.choice.blocks[0].columns, work.bad_number.row);
}

}  // namespace

void clear(const Work &work) {
  const Buffers &buffers = work.buffers;
  auto *report = reinterpret_cast<unsigned char *>(buffers.report);
  if (work.phase.prepares) {
    work.stream().fill(buffers.zeroed, 0, buffers.zeroed_bytes);
    // About 2^127 each: exp2 of anything less that is 0.
    if (work.choice.online && !work.phase.is_part)
      work.stream().fill(buffers.no_log2_sum, 0x7f, size_t(work.choice.longest_rows()) * sizeof(float));
    return;
  }
  // What was found in the inputs stays, and in the upstream gradient while it is the same.
  const auto first = work.phase.has_losses ? offsetof(Report, bad_row[kUpstreamInput]) : offsetof(Report, cancelled);
  work.stream().fill(report + first, 0, offsetof(Report, largest_norm) - first);
  if (work.bad_part.row >= 0) tell_bad_row(work, work.bad_part.matrix, work.bad_part.row);
  if (work.has_bad_gradient_part) tell_bad_row(work, kUpstreamInput, 0);
}

void upload(const Work &work) {
  Lane &lane = *work.lane;
  const Buffers &buffers = work.buffers;
  const infonce_grad_output &upstream = work.problem.grad_output;
  if (work.phase.has_losses && upstream.residence == INFONCE_ON_HOST)
    lane.upload(const_cast<float *>(buffers.grad_output), upstream.data, size_t(upstream.count) * sizeof(float));
  const auto upload_rows = [&](const infonce_matrix &matrix, const Buffers::Input &input, int64_t dim) {
    if (matrix.residence == INFONCE_ON_DEVICE) return;
    const size_t number = input.halves ? sizeof(uint16_t) : sizeof(float);
    void *const to = input.halves ? input.halves : input.rows;
    lane.upload(to,
                {matrix.data, size_t(dim) * number, size_t(row_stride_of(matrix, dim)) * number, size_t(matrix.rows)});
  };
  const infonce_matrix *matrices = work.problem.matrices;
  work.for_each_brought_matrix([&](int m) { upload_rows(matrices[m], buffers.inputs[m], work.problem.dim); });
  work.for_each_brought_guide(
      [&](int m) { upload_rows(guide_of(matrices[m]), buffers.guide_inputs[m], work.problem.guide_dim); });
  if (!work.phase.prepares) return;
  upload_masks(work);
  if (work.phase.is_part) upload_softmaxes_of_part(work);
  if (work.phase.is_part || has_own_candidates_alone(work.problem)) return;
  const auto upload_vector = [&](auto *to, const auto &vector) {
    if (!vector.empty()) lane.staging.upload(lane.stream, to, vector.data(), vector.size() * sizeof *to);
  };
  upload_vector(buffers.classes.order, work.classes.order);
  upload_vector(buffers.classes.apart, work.classes.apart);
  upload_vector(buffers.classes.members, work.classes.members);
  upload_vector(buffers.classes.class_of, work.classes.class_of);
  upload_vector(buffers.classes.large, work.classes.large);
  upload_vector(buffers.classes.targets, work.classes.targets);
  upload_vector(buffers.classes.anchors_of_keys, work.classes.anchors_of_keys);
  upload_vector(buffers.classes.memory_order, work.classes.memory_order);
  upload_vector(buffers.classes.memory_apart, work.classes.memory_apart);
  upload_vector(buffers.classes.memory_members, work.classes.memory_members);
  upload_vector(buffers.classes.memory_large, work.classes.memory_large);
  upload_vector(buffers.classes.firsts, work.classes.firsts);
}

void bring_rows_into_place(Work *work) {
  Stream &stream = work->stream();
  Buffers &buffers = work->buffers;
  const auto bring = [&](const infonce_matrix &matrix, const Buffers::Input &input, int64_t dim, Tower *tower) {
    const bool on_device = matrix.residence == INFONCE_ON_DEVICE;
    const int64_t size = matrix.rows * dim, stride = on_device ? row_stride_of(matrix, dim) : dim;
    const void *const from = input.halves ? input.halves : matrix.data;
    tower->source = input.rows ? input.rows : static_cast<const float *>(matrix.data);
    tower->source_stride = input.rows ? dim : stride;
    if (!input.rows || (!on_device && matrix.type == INFONCE_FLOAT32)) return;
    if (stride != dim) bring_together(stream, matrix.type, from, stride, input.rows, matrix.rows, dim);
    else if (matrix.type != INFONCE_FLOAT32) widen(stream, matrix.type == INFONCE_FLOAT16, from, input.rows, size);
    else stream.copy(input.rows, from, size_t(size) * sizeof(float), cudaMemcpyDeviceToDevice);
  };
  const infonce_matrix *matrices = work->problem.matrices;
  work->for_each_brought_matrix(
      [&](int m) { bring(matrices[m], buffers.inputs[m], work->problem.dim, &buffers.towers[m]); });
  work->for_each_brought_guide([&](int m) {
    bring(guide_of(matrices[m]), buffers.guide_inputs[m], work->problem.guide_dim, &buffers.guides[m]);
  });
}

}  // namespace infonce::cuda::steps

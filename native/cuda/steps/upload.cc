// What a call brings to the device. Copies of page-locked arrays are queued with the kernels; pageable ones go through
// staging buffers, which the processor fills.
#include "cuda/steps/steps.h"

namespace infonce::cuda::steps {

void clear(const Work &work) {
  const Buffers &buffers = work.buffers;
  if (work.part == Part::kBackward) {
    // What was found in the inputs stays.
    const auto first = offsetof(Report, bad_row[kUpstreamInput]);
    auto *report = reinterpret_cast<unsigned char *>(buffers.report);
    work.stream().fill(report + first, 0, offsetof(Report, largest_norm) - first);
    return;
  }
  work.stream().fill(buffers.zeroed, 0, buffers.zeroed_bytes);
  // About 2^127 each: exp2 of anything less that is 0.
  if (work.choice.online)
    work.stream().fill(buffers.no_log2_sum, 0x7f, size_t(work.choice.longest_rows()) * sizeof(float));
}

void upload(const Work &work) {
  Lane &lane = *work.lane;
  const Buffers &buffers = work.buffers;
  const infonce_grad_output &upstream = work.problem.grad_output;
  if (upstream.residence == INFONCE_ON_HOST)
    lane.upload(const_cast<float *>(buffers.grad_output), upstream.data, size_t(upstream.count) * sizeof(float));
  if (work.part == Part::kBackward) return;
  work.for_each_matrix([&](int m) {
    const infonce_matrix &matrix = work.problem.matrices[m];
    if (matrix.residence == INFONCE_ON_DEVICE) return;
    const Buffers::Input &input = buffers.inputs[m];
    const size_t size = size_t(work.size_of(m));
    if (input.halves) lane.upload(input.halves, matrix.data, size * sizeof(uint16_t));
    else lane.upload(input.rows, matrix.data, size * sizeof(float));
  });
  if (has_own_candidates(work.problem)) return;
  const auto upload_vector = [&](auto *to, const auto &vector) {
    if (!vector.empty()) lane.staging.upload(lane.stream, to, vector.data(), vector.size() * sizeof *to);
  };
  upload_vector(buffers.classes.order, work.classes.order);
  upload_vector(buffers.classes.apart, work.classes.apart);
  upload_vector(buffers.classes.members, work.classes.members);
  upload_vector(buffers.classes.class_of, work.classes.class_of);
  upload_vector(buffers.classes.large, work.classes.large);
  upload_vector(buffers.classes.memory_order, work.classes.memory_order);
  upload_vector(buffers.classes.memory_apart, work.classes.memory_apart);
  upload_vector(buffers.classes.memory_members, work.classes.memory_members);
  upload_vector(buffers.classes.memory_large, work.classes.memory_large);
}

void bring_rows_into_place(Work *work) {
  Stream &stream = work->stream();
  work->for_each_matrix([&](int m) {
    const infonce_matrix &matrix = work->problem.matrices[m];
    const Buffers::Input &input = work->buffers.inputs[m];
    const int64_t size = work->size_of(m);
    if (matrix.type != INFONCE_FLOAT32)
      widen(stream, matrix.type == INFONCE_FLOAT16, input.halves ? input.halves : matrix.data, input.rows, size);
    else if (matrix.residence == INFONCE_ON_DEVICE && input.rows)
      stream.copy(input.rows, matrix.data, size_t(size) * sizeof(float), cudaMemcpyDeviceToDevice);
    work->buffers.towers[m].source = input.rows ? input.rows : static_cast<const float *>(matrix.data);
  });
}

}  // namespace infonce::cuda::steps

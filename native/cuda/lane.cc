#include "cuda/lane.h"

namespace infonce::cuda {

void Clock::read(infonce_result *result) const {
  if (!runs_) return;
  const auto between = [&](Mark from, Mark to) {
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, events_[from].get(), events_[to].get()), "reading an event");
    return milliseconds / 1e3;
  };
  result->upload_seconds = between(kBegin, kUploaded);
  result->kernel_seconds = between(kOrdered, kComputed);
  result->download_seconds = between(kComputed, kDownloaded);
}

Lane::Lane(Kernels &kernels, cudaStream_t stream_of_caller, bool measure)
    : stream(kernels, stream_of_caller), downloads(kernels), clock(measure) {
  *one_.get() = 1;
}

void Lane::watch(const int32_t *host_flag, int32_t *device_flag) {
  device_flag_ = host_flag ? device_flag : nullptr;
  stream.watch(host_flag, device_flag_);
  ended_early_ = false;
}

void Lane::end_early() noexcept {
  if (!device_flag_) return;
  ended_early_ = true;
  // In a stream of its own, since downloads may be waiting for kernels; by the copy engine, since kernels may have
  // taken the whole device.
  cudaStream_t at_once = nullptr;
  cudaStreamCreateWithFlags(&at_once, cudaStreamNonBlocking);
  if (!at_once) return;
  cudaMemcpyAsync(device_flag_, one_.get(), sizeof *device_flag_, cudaMemcpyHostToDevice, at_once);
  cudaStreamSynchronize(at_once);
  cudaStreamDestroy(at_once);
}

void Lane::end_early_if_cancelled() noexcept {
  if (!ended_early_ && stream.is_cancelled()) end_early();
}

void Lane::abandon() noexcept {
  end_early();
  stream.settle();
  downloads.settle();
  watch(nullptr, nullptr);
}

void Lane::upload(void *to, const void *from, size_t bytes) {
  if (bytes == 0) return;
  if (is_page_locked(from)) stream.copy(to, from, bytes, cudaMemcpyHostToDevice);
  else staging.upload(stream, to, from, bytes);
}

void Lane::upload(void *to, const ByteRows &rows) {
  constexpr size_t kMostPitch = size_t(1) << 30;  // copies of rows know no larger one
  if (rows.follow_each_other()) upload(to, rows.from, rows.bytes());
  else if (rows.stride <= kMostPitch && is_page_locked(rows.from)) stream.upload_rows(to, rows);
  else staging.upload(stream, to, rows);
}

void Lane::copy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind) {
  if (kind == cudaMemcpyHostToDevice) {
    upload(to, from, bytes);
  } else if (kind == cudaMemcpyDeviceToHost && !is_page_locked(to)) {
    all_ready.record(stream);
    staging.download(stream, downloads, all_ready.get(), to, from, bytes);
  } else {
    stream.copy(to, from, bytes, kind);
  }
  stream.synchronize();
}

void Lane::follow(Lane &other) {
  other.downloaded.record(other.downloads);
  downloads.follow(other.downloaded.get());
  if (stream.handle() == other.stream.handle()) return;  // the caller's
  other.queued.record(other.stream);
  stream.follow(other.queued.get());
}

}  // namespace infonce::cuda

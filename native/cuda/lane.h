// What one call has to itself while it is in flight. Successive calls of a context take different lanes if they
// overlap, so that copies of one run beside the kernels of the other; kernels keep the order of the calls.
#pragma once

#include <atomic>

#include "cuda/kernels/rows.h"
#include "cuda/workspace.h"
#include "infonce/infonce.h"

namespace infonce::cuda {

// Events around the parts of a call, for contexts that measure.
class Clock {
 public:
  explicit Clock(bool runs) : runs_(runs) {}

  // kOrdered: the kernels of the call before are done as well.
  enum Mark { kBegin, kUploaded, kOrdered, kComputed, kDownloaded, kMarks };
  void mark(const Stream &stream, Mark which) const {
    if (runs_) events_[which].record(stream);
  }
  void read(infonce_result *result) const;  // after all that was marked

 private:
  bool runs_;
  Event events_[kMarks] = {Event(cudaEventDefault), Event(cudaEventDefault), Event(cudaEventDefault),
                           Event(cudaEventDefault), Event(cudaEventDefault)};
};

struct Lane {
  Lane(Kernels &kernels, cudaStream_t stream_of_caller, bool measure);

  // Ends what is queued here as early as possible, and waits for it.
  void abandon() noexcept;
  // Kernels queued here from now on come after all that is queued in `other`, and downloads after its downloads: both
  // calls may fill the same array.
  void follow(Lane &other);

  // Between host and device, in order, and done when it returns. `upload` queues: `from` may be reused, unless it is
  // page-locked.
  void copy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind);
  void upload(void *to, const void *from, size_t bytes);
  void upload(void *to, const ByteRows &rows);
  // `host_flag`: set by the caller to cancel, null: the call cannot be cancelled. `device_flag` makes its kernels return.
  void watch(const int32_t *host_flag, int32_t *device_flag);
  // For the next call, whose begin() may wait for this one while nobody is in this one's end().
  void end_early_if_cancelled() noexcept;
  bool was_ended_early() const { return ended_early_; }

  Stream stream, downloads;
  Workspace workspace;
  Staging staging;
  PageLocked<Report> report;
  Event gradient_ready[INFONCE_MOST_MATRICES], all_ready, decided, queued, downloaded;
  Clock clock;
  bool busy = false;

 private:
  void end_early() noexcept;

  PageLocked<int32_t> one_;
  int32_t *device_flag_ = nullptr;
  std::atomic<bool> ended_early_{false};
};

}  // namespace infonce::cuda

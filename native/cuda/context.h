// A context: keeps the lanes of its calls and what memory they have, and the order of their work on the device.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "cuda/call.h"
#include "cuda/capture.h"
#include "infonce/infonce.h"

// A call that was recorded, and what it works in.
struct infonce_graph {
  infonce_result result;
  infonce::cuda::Workspace memory;
  std::unique_ptr<infonce::cuda::Call> work;
  infonce::cuda::Graph kernels;
  int in_flight = 0;  // repetitions
  bool last_brings_rows = false;
};

// A call that has begun.
struct infonce_call {
  std::unique_ptr<infonce::cuda::Call> work;
  infonce::cuda::Lane *lane;
  infonce_graph *graph = nullptr;  // that it repeats
};

// What a forward call leaves for backward calls.
struct infonce_saved {
  std::mutex mutex;
  std::atomic<infonce::Stage> stage{infonce::Stage::kClosed};
  infonce_problem problem;
  infonce::cuda::Workspace memory, sums_of_parts;
  std::unique_ptr<infonce::cuda::Call> work;
};

namespace infonce::cuda {

// Members may be used from any thread, whose device must be that of the context, and throw Error, OutOfMemory or
// Cancelled.
class Context {
 public:
  // Runs a kernel and waits for it: what keeps kernels from running shows here. On the current device.
  Context(const infonce_context_options &options, UseOfSm90 sm90);
  ~Context();
  Context(const Context &) = delete;
  Context &operator=(const Context &) = delete;

  int32_t device() const { return device_; }

  // What took the device from this context, or an empty text.
  std::string fault();
  void lose(const std::string &fault);

  // Of kWhole also while the caller captures the stream into a graph; the memory that the call takes is given back when that
  // is gone.
  std::unique_ptr<infonce_call> begin(const infonce_problem &problem, infonce_result *result, Phase phase = kWhole,
                                      infonce_output logits = {});
  // The first bad row, if that is to fail the call.
  BadRow end(infonce_call &call);
  // A call as a graph of its own, and repetitions of it. Without a graph if there is a bad row.
  BadRow record(const infonce_problem &problem, const infonce_result &result, std::unique_ptr<infonce_graph> *graph);
  std::unique_ptr<infonce_call> repeat(infonce_graph &graph, const int32_t *cancelled, infonce_result *result);
  void destroy(std::unique_ptr<infonce_graph> graph);
  // Without saved state if there is a bad row.
  BadRow forward(const infonce_problem &problem, infonce_result *result, std::unique_ptr<infonce_saved> *saved);
  BadRow backward(infonce_saved &saved, const infonce_upstream &upstream, infonce_result *result);
  void destroy(std::unique_ptr<infonce_saved> saved);

  // The same in steps.
  BadRow open(const infonce_problem &problem, std::unique_ptr<infonce_saved> *saved);
  BadRow add(infonce_saved &saved, const infonce_part &part);
  BadRow close(infonce_saved &saved, infonce_result *result);
  BadRow open_gradient(infonce_saved &saved, const infonce_upstream &upstream);
  BadRow add_gradient(infonce_saved &saved, const infonce_part &part, const infonce_output &gradient);
  BadRow close_gradient(infonce_saved &saved, infonce_result *result);
  void read_rows(infonce_saved &saved, int32_t softmax, const infonce_travelling_rows &rows);
  BadRow join_rows(infonce_saved &saved, int32_t softmax, const infonce_travelling_rows &rows);

  // Bytes that a call takes, and that are to be had.
  int64_t size_of(const infonce_problem &problem, const infonce_result &result);
  int64_t available();
  // Gives idle memory back; how many bytes. Waits for no call that another thread is beginning.
  int64_t trim();

  void *allocate(int64_t bytes);
  void release(void *memory);  // waits for nothing
  void copy(void *to, const void *from, int64_t bytes, cudaMemcpyKind kind);
  // Of memory of this context and of another one, which may be on another device, after its event, which may be null.
  void copy_after(cudaEvent_t event, void *to, const void *from, int64_t bytes);
  void combine(float *to, const float *from, int64_t count, float factor, bool waits);
  // Behind all work that was begun.
  void mark(cudaEvent_t event);

 private:
  void try_device();
  Lane &take_lane();
  std::unique_ptr<infonce_call> capture(const infonce_problem &problem, infonce_result *result, Phase phase);
  void free_ended_captures();
  bool is_capturing() const { return cuda::is_capturing(stream_of_caller_); }
  void refuse_capture() const;
  void place(Call &call, Workspace *kept);
  void start(Call &call, Lane &lane, Workspace *kept);
  BadRow finish(Call &call, Lane &lane);
  BadRow begin_saved(const infonce_problem &problem, infonce_result *result, Phase phase,
                     std::unique_ptr<infonce_saved> *saved);
  BadRow go_on(infonce_saved &saved, Phase phase, const infonce_upstream *upstream, infonce_result *result);
  BadRow take_part(infonce_saved &saved, const infonce_part &part, Phase phase, infonce_output gradient);
  template <class Body> void on_a_lane(Body &&body, bool waits = true);
  void give_back(void *memory);
  void follow_all_lanes();
  void drop(Lane &lane) noexcept;
  template <class Take> auto with_idle_memory(Take &&take);
  bool free_idle_memory();
  int64_t idle_memory();
  void settle() noexcept;

  std::mutex mutex_;
  const int32_t device_;
  const infonce_precision precision_;
  const cudaStream_t stream_of_caller_;
  const bool measure_;
  Kernels kernels_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  // A call in a graph of the caller's has a lane of its own, whose memory every replay uses.
  struct Captured {
    std::unique_ptr<Lane> lane;
    std::shared_ptr<const std::atomic<bool>> has_ended;  // null: that is not known

    bool is_over() const { return has_ended && *has_ended; }
  };
  std::vector<Captured> captured_;
  std::vector<void *> released_in_capture_;  // until the next release
  Lane *last_ = nullptr;                     // whose work may not be done; what begins next follows it
  std::vector<Workspace> spare_;             // of states that were destroyed
  Stream releases_;                          // in which nothing is done but to wait for others
  std::mutex memory_mutex_;
  DeviceMemory memory_;
  std::mutex fault_mutex_;
  std::string fault_;
};

}  // namespace infonce::cuda

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>

#include "infonce/infonce.h"

namespace infonce::node {

// Owns a context of a backend and all that must be given back before it. Usable from any thread: the backend serialises
// calls. Methods throw a Failure.
class BackendContext : public std::enable_shared_from_this<BackendContext> {
 public:
  BackendContext(const infonce_backend &backend, const infonce_context_options &options);
  ~BackendContext() { close(); }
  BackendContext(const BackendContext &) = delete;
  BackendContext &operator=(const BackendContext &) = delete;

  // Gives back the context with all its memory and saved state. Nothing but destructors may follow.
  void close() noexcept;

  void run(const infonce_problem &problem, infonce_result &result);
  // What a process group does with the backend, and returns the status of.
  using Step = std::function<infonce_status(const infonce_backend &, infonce_context *, infonce_failure *)>;
  void take_step(const Step &step);

  // Whether calls can be begun and ended apart, the second after the first has returned.
  bool can_overlap() const { return backend_.begin != nullptr && backend_.end != nullptr; }
  infonce_call *begin(const infonce_problem &problem, infonce_result &result);
  void end(infonce_call *call);

  // Returns a graph, and begins a call of it.
  std::shared_ptr<void> capture(const infonce_problem &problem, const infonce_result &result);
  infonce_call *replay(void *graph, const int32_t *cancelled, infonce_result &result);

  // Returns saved state.
  std::shared_ptr<void> forward(const infonce_problem &problem, infonce_result &result);
  void backward(void *saved, const infonce_upstream &upstream, infonce_result &result);

  // Fills logits [rows, rows - 1].
  void logits(const infonce_problem &problem, const infonce_output &logits);
  infonce_memory_needs memory_required(const infonce_problem &problem, uint32_t gradients);

  // Memory of the context's device.
  std::shared_ptr<void> allocate(int64_t bytes);
  // Refuses what is no such memory, whoever has allocated it.
  void examine(const void *memory, int64_t bytes);
  infonce_memory_handle export_memory(const void *memory);
  // So many bytes of another process, at the beginning of what is returned.
  std::shared_ptr<void> open_memory(const infonce_memory_handle &handle, int64_t bytes);
  void copy(void *to, const void *from, size_t bytes, infonce_copy direction);
  // Gives back what the backend keeps for later calls; returns how many bytes.
  int64_t trim();

  // A share in what has to be deleted before the context goes, as saved state is.
  template <class Kept> std::shared_ptr<void> keep(std::unique_ptr<Kept> kept) {
    return share(kept.release(), [](const infonce_backend &, infonce_context *, void *pointer) {
      delete static_cast<Kept *>(pointer);
    });
  }

 private:
  using GiveBack = void (*)(const infonce_backend &, infonce_context *, void *);
  // Counts a call for as long as it runs.
  class Calling;

  // A share in what the backend has lent. With the last of them it is given back: at once if no call runs, else by the
  // thread of a call that has ended, because a backend may wait for all its work first.
  std::shared_ptr<void> share(void *lent, GiveBack give_back);
  void return_to_backend(void *lent) noexcept;
  void call_has_ended() noexcept;
  // Whether there was anything to give back.
  bool give_back_returned() noexcept;
  void *allocate_or_throw(int64_t bytes);

  const infonce_backend &backend_;
  infonce_context *context_ = nullptr;
  std::mutex mutex_;
  int calls_ = 0;
  std::map<void *, GiveBack> lent_;
  // No longer shared, but not given back yet.
  std::map<void *, GiveBack> returned_;
};

}  // namespace infonce::node

// The thread on which a library that carries messages runs: it takes posted messages and moves them on until they have ended,
// also while no other thread waits for them.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "group/event.h"
#include "group/transport.h"

namespace infonce::group {

constexpr int64_t kMicrosecond = 1000;
constexpr int64_t kSecond = 1000000000;

// A thread with messages under way spins first, as an answer often comes at once, then naps.
constexpr int64_t kSpin = 20 * kMicrosecond;
constexpr int64_t kNap = 50 * kMicrosecond;
// Messages that are under way for longer wait for a slow rank, or are long: longer naps still move them on fast enough.
constexpr int64_t kPatience = kSecond;
constexpr int64_t kPatientNap = 200 * kMicrosecond;

constexpr double kForAbandoning = 1;  // seconds in which a thread stops when its transport is destroyed

// Nanoseconds, by a clock that nobody sets.
int64_t now();
int64_t nanoseconds(double seconds);
// Whether the event has happened by then.
bool wait_for(Event &event, int64_t deadline);

class LibraryThread : public std::enable_shared_from_this<LibraryThread> {
 public:
  virtual ~LibraryThread() = default;
  LibraryThread(const LibraryThread &) = delete;
  LibraryThread &operator=(const LibraryThread &) = delete;

  // From any thread. Stops all messages, and waits for that at most so long.
  void abandon(double seconds);

 protected:
  LibraryThread() = default;

  // Runs `run` on a thread, which may outlive its users. Whether it has begun in time; if not, it is asked to stop.
  bool start(double seconds);
  virtual void run() = 0;

  // The library is open: this thread ends with the process, before the library has its own end. `stays`: also when
  // everybody else has let go of it.
  void end_at_exit(bool stays);
  virtual void end_with_process(int status) = 0;
  friend void end_threads(int status);

  // Nothing can be posted any more, nor ends. The first reason stays.
  void lose(const std::string &reason);
  // Asks the thread to leave within that time. Returns the deadline.
  int64_t ask_to_leave(double seconds);
  // Of the thread: waits for a message or a request, at most so long.
  void nap(int64_t nanoseconds);
  void wake();

  // Under the mutex.
  void lose_once(const std::string &reason);
  void refuse_if_lost() const;

  Event begun_, stopped_;
  std::atomic<bool> stop_{false};
  int64_t deadline_ = -1;  // of the thread alone: for leaving; -1: not asked for

  std::mutex mutex_;
  bool has_posts_ = false;
  int64_t asked_to_leave_ = -1;
  std::atomic<bool> is_lost_{false};

 private:
  Event posted_;
  std::atomic<bool> naps_{false};
  std::string lost_;  // why the group is lost
};

// One whose messages have a flag `ended`, which it sets.
template <class Message> class ThreadOf : public LibraryThread {
 public:
  using Messages = std::vector<std::shared_ptr<Message>>;

  // From any thread. Messages that go together. Throws Lost, as the next does.
  void post(Messages messages) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      refuse_if_lost();
      add(std::move(messages));
    }
    wake();
  }

  bool has_ended(const Message &message) {
    if (message.ended.load(std::memory_order_acquire)) return true;
    if (!is_lost_) return false;
    const std::lock_guard<std::mutex> lock(mutex_);
    refuse_if_lost();
    return false;
  }

 protected:
  // Under the mutex.
  void add(Messages messages) {
    posts_.push_back(std::move(messages));
    has_posts_ = true;
  }

  // Of the thread: messages posted since the last call.
  std::vector<Messages> take_posts() {
    const std::lock_guard<std::mutex> lock(mutex_);
    has_posts_ = false;
    deadline_ = asked_to_leave_;
    return std::exchange(posts_, {});
  }

 private:
  std::vector<Messages> posts_;
};

// A message of such a thread.
template <class Thread, class Message> class ExchangeOf final : public Exchange {
 public:
  ExchangeOf(std::shared_ptr<Thread> thread, std::shared_ptr<Message> message)
      : thread_(std::move(thread)), message_(std::move(message)) {}

  bool has_ended() override { return thread_->has_ended(*message_); }

 private:
  std::shared_ptr<Thread> thread_;
  std::shared_ptr<Message> message_;
};

}  // namespace infonce::group

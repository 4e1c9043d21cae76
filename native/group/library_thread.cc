#ifdef __linux__

#include "group/library_thread.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <sys/prctl.h>

#include "common/threads.h"
#include "group/keep_code.h"

namespace infonce::group {

namespace {

// Threads for which the process waits at its exit: libraries take themselves down meanwhile, and must not be called then.
// Never destroyed.
struct AtExit {
  struct Entry {
    std::weak_ptr<LibraryThread> thread;
    std::shared_ptr<LibraryThread> kept;  // may be null
  };
  std::mutex mutex;
  std::vector<Entry> entries;
};

AtExit &at_exit() {
  static AtExit &one = *new AtExit;
  return one;
}

}  // namespace

void end_threads(int status) {
  std::vector<AtExit::Entry> entries;
  {
    const std::lock_guard<std::mutex> lock(at_exit().mutex);
    entries.swap(at_exit().entries);
  }
  for (const AtExit::Entry &entry : entries)
    if (const std::shared_ptr<LibraryThread> thread = entry.thread.lock()) thread->end_with_process(status);
}

namespace {

#ifdef __GLIBC__
void at_exit_of_process(int status, void *) { end_threads(status); }
void register_at_exit() { on_exit(at_exit_of_process, nullptr); }
#else
void at_exit_of_process() { end_threads(0); }
void register_at_exit() { std::atexit(at_exit_of_process); }
#endif

}  // namespace

int64_t now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

int64_t nanoseconds(double seconds) { return int64_t(std::clamp(seconds, 0.0, 1e9) * kSecond); }

bool wait_for(Event &event, int64_t deadline) {
  for (int64_t left = deadline - now(); left > 0; left = deadline - now())
    if (event.wait(left)) return true;
  return event.wait(0);
}

bool LibraryThread::start(double seconds) {
  keep_code();
  start_thread([self = shared_from_this()] {
    prctl(PR_SET_TIMERSLACK, 1 * kMicrosecond);  // else naps are longer by 50 µs
    self->run();
    self->begun_.happen();
    self->stopped_.happen();
  }).detach();
  if (wait_for(begun_, now() + nanoseconds(seconds))) return true;
  stop_ = true;
  return false;
}

// Registered again each time, so that it runs before the exit handlers of the library opened last.
void LibraryThread::end_at_exit(bool stays) {
  register_at_exit();
  const std::lock_guard<std::mutex> lock(at_exit().mutex);
  std::vector<AtExit::Entry> &entries = at_exit().entries;
  const auto is_gone = [](const AtExit::Entry &each) { return each.thread.expired(); };
  entries.erase(std::remove_if(entries.begin(), entries.end(), is_gone), entries.end());
  entries.push_back({weak_from_this(), stays ? shared_from_this() : nullptr});
}

void LibraryThread::abandon(double seconds) {
  lose("the group was abandoned by this rank");
  stop_ = true;
  wake();
  if (seconds > 0) wait_for(stopped_, now() + nanoseconds(seconds));
}

int64_t LibraryThread::ask_to_leave(double seconds) {
  const int64_t deadline = now() + nanoseconds(seconds);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    lose_once("this rank has left the group");
    asked_to_leave_ = deadline;
  }
  wake();
  return deadline;
}

void LibraryThread::lose(const std::string &reason) {
  const std::lock_guard<std::mutex> lock(mutex_);
  lose_once(reason);
}

void LibraryThread::lose_once(const std::string &reason) {
  if (is_lost_) return;
  lost_ = reason;
  is_lost_ = true;
}

void LibraryThread::refuse_if_lost() const {
  if (is_lost_) throw Lost(lost_);
}

void LibraryThread::wake() {
  if (naps_.exchange(false)) posted_.happen();
}

void LibraryThread::nap(int64_t nanoseconds) {
  naps_ = true;
  bool is_awake = stop_;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    is_awake = is_awake || has_posts_ || asked_to_leave_ != deadline_;
  }
  if (!is_awake) posted_.wait(nanoseconds);
  if (!naps_.exchange(false)) posted_.forget();
}

}  // namespace infonce::group

#endif

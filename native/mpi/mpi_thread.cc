#ifdef __linux__

#include "mpi/mpi_thread.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <sys/prctl.h>
#include <thread>
#include <unistd.h>

#include "group/keep_code.h"
#include "group/transport.h"
#include "mpi/cannot_start.h"

namespace infonce::mpi {

namespace {

constexpr int64_t kMicrosecond = 1000;
constexpr int64_t kSecond = 1000000000;
constexpr int64_t kSpin = 20 * kMicrosecond;
constexpr int64_t kShortestNap = 50 * kMicrosecond;
constexpr int64_t kLongestNap = 1000 * kMicrosecond;
// What has not ended after so long waits for a slow rank, or is a long message; so often it is still moved on fast enough.
constexpr int64_t kPatience = kSecond;
constexpr int64_t kPatientNap = 200 * kMicrosecond;
// MPI_Finalize is quick once all ranks are there for it, or does not return: that of MPICH 4.0.2 over UCX and TCP, at times.
constexpr int64_t kForFinalize = 5 * kSecond;
constexpr double kForExit = 0.2;

int64_t now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

int64_t nanoseconds(double seconds) { return static_cast<int64_t>(std::clamp(seconds, 0.0, 1e9) * kSecond); }

bool wait_for(group::Event &event, int64_t deadline) {
  for (int64_t left = deadline - now(); left > 0; left = deadline - now()) {
    if (event.wait(left)) {
      return true;
    }
  }
  return event.wait(0);
}

// The threads of which the process has to wait at its exit: libmpi takes itself down while the process ends, and must not be
// called then. Never destroyed.
struct AtExit {
  std::mutex mutex;
  std::vector<std::shared_ptr<MpiThread>> threads;
};

AtExit &at_exit() {
  static AtExit &one = *new AtExit;
  return one;
}

void end_threads(int status) {
  std::vector<std::shared_ptr<MpiThread>> threads;
  {
    const std::lock_guard<std::mutex> lock(at_exit().mutex);
    threads.swap(at_exit().threads);
  }
  for (const std::shared_ptr<MpiThread> &thread : threads) {
    thread->end_with_process(status);
  }
}

#ifdef __GLIBC__
void at_exit_of_process(int status, void *) { end_threads(status); }
void register_at_exit() { on_exit(at_exit_of_process, nullptr); }
#else
void at_exit_of_process() { end_threads(0); }
void register_at_exit() { std::atexit(at_exit_of_process); }
#endif

}  // namespace

MpiThread::MpiThread(std::unique_ptr<Calls> calls, bool started, size_t piece)
    : calls_(std::move(calls)), started_(started), piece_(piece), process_(getpid()) {}

std::shared_ptr<MpiThread> MpiThread::start(std::unique_ptr<Calls> calls, bool started, size_t piece, double seconds) {
  const std::shared_ptr<MpiThread> thread(new MpiThread(std::move(calls), started, piece));
  group::keep_code();  // the thread may outlive what uses it, for instance in MPI_Init
  std::thread([thread] { thread->run(); }).detach();
  const bool begun = wait_for(thread->begun_, now() + nanoseconds(seconds));
  if (!begun) {
    thread->stop_ = true;
    throw NotAllCame(
        "MPI_Init_thread has not returned within " + std::to_string(static_cast<int64_t>(seconds)) +
        " seconds: it waits until every process that the launcher started calls it. Create the group in all "
        "of them, start the job anew if one has ended, or allow more time: timeout");
  }
  if (thread->failure_ != nullptr) {
    std::rethrow_exception(thread->failure_);
  }
  return thread;
}

void MpiThread::run() {
  prctl(PR_SET_TIMERSLACK, 1 * kMicrosecond);  // else naps are longer by 50 µs
  if (begin()) {
    while (!ends_ && !stop_) {
      try {
        step();
      } catch (const std::exception &failure) {
        lose(failure.what());
      }
    }
  }
  stopped_.happen();
  together_.happen();
}

bool MpiThread::begin() {
  try {
    if (!started_ && !calls_->init()) {
      throw ThreadsRefused(
          "the MPI library allows but one thread in a process (MPI_THREAD_SINGLE); "
          "MPI_THREAD_FUNNELED is needed. Use a build of it with threads, and name it in INFONCE_MPI_LIBRARY");
    }
    place_ = calls_->join(!started_);
    const std::lock_guard<std::mutex> lock(at_exit().mutex);
    at_exit().threads.push_back(shared_from_this());
    // After libmpi is loaded, so that it is called before what libmpi has for the exit.
    static std::once_flag registered;
    std::call_once(registered, register_at_exit);
  } catch (const group::Lost &failure) {
    failure_ = std::make_exception_ptr(NotAllCame(
        std::string("MPI cannot be started: ") + failure.what() +
        ". See what it has printed, and whether all hosts of the job have the same library and reach each other"));
  } catch (...) {
    failure_ = std::current_exception();
  }
  const bool begun = failure_ == nullptr;
  changed_ = now();
  begun_.happen();
  return begun;
}

void MpiThread::step() {
  take_posts();
  if (test_pieces()) {
    changed_ = now();
  }
  step_of_leaving();
  if (!ends_) {
    nap();
  }
}

void MpiThread::post(std::shared_ptr<Message> message) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (is_lost_) {
      throw group::Lost(lost_);
    }
    posts_.push_back(std::move(message));
  }
  wake();
}

bool MpiThread::has_ended(const Message &message) {
  if (message.ended.load(std::memory_order_acquire)) {
    return true;
  }
  if (is_lost_) {
    const std::lock_guard<std::mutex> lock(mutex_);
    throw group::Lost(lost_);
  }
  return false;
}

bool MpiThread::leave(double seconds) {
  const int64_t deadline = now() + nanoseconds(seconds);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    lose_once("this rank has left the group");
    asked_to_leave_ = deadline;
  }
  wake();
  wait_for(together_, deadline);
  wait_for(stopped_, now() + kForFinalize);
  const std::lock_guard<std::mutex> lock(mutex_);
  return all_left_;
}

void MpiThread::abandon(double seconds) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    lose_once("the group was abandoned by this rank");
  }
  stop_ = true;
  wake();
  wait_for(stopped_, now() + nanoseconds(seconds));
}

// A rank that ends without the others must not look as if all were well: the launcher ends the others then, and that of
// MPICH takes the status of this one for that of all.
void MpiThread::end_with_process(int status) {
  if (getpid() != process_) {
    return;  // a fork of it
  }
  if (place_.size == 1) {
    leave(kForExit);
  } else {
    abandon(kForExit);
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!all_left_ && !started_ && status == 0) {
    std::fprintf(stderr,
                 "infonce: rank %d of %d ends, with status 1, before all ranks have left their process group: "
                 "dispose of it in each of them, and wait for that\n",
                 place_.rank, place_.size);
    std::fflush(nullptr);
    _exit(1);
  }
}

void MpiThread::lose(const std::string &reason) {
  const std::lock_guard<std::mutex> lock(mutex_);
  lose_once(reason);
  ends_ = true;
}

// Under the mutex.
void MpiThread::lose_once(const std::string &reason) {
  if (!is_lost_) {
    lost_ = reason;
    is_lost_ = true;
  }
}

void MpiThread::wake() {
  if (naps_.exchange(false)) {
    posted_.happen();
  }
}

// Spins for a moment, as an answer often comes at once; then naps, the longer the less there is to hope for.
void MpiThread::nap() {
  const int64_t since = now() - changed_;
  if (since < kSpin) {
    return;
  }
  int64_t length = kShortestNap;
  if (pieces_.empty() && leaving_ == Leaving::kNot) {
    calls_->poll();  // what was sent may be in buffers of the library still
    length = since / 10;
  } else if (since > kPatience) {
    length = kPatientNap;
  }
  naps_ = true;
  bool awake = stop_;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    awake = awake || !posts_.empty() || asked_to_leave_ != deadline_;
  }
  if (!awake) {
    posted_.wait(std::clamp(length, kShortestNap, kLongestNap));
  }
  if (!naps_.exchange(false)) {
    posted_.forget();
  }
}

void MpiThread::take_posts() {
  std::vector<std::shared_ptr<Message>> posts;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    posts.swap(posts_);
    deadline_ = asked_to_leave_;
  }
  for (const std::shared_ptr<Message> &message : posts) {
    changed_ = now();
    if (message->sent) {
      while (!message->last) {
        post_next(message);
      }
      continue;
    }
    std::deque<std::shared_ptr<Message>> &before = waiting_[{message->other, message->tag}];
    before.push_back(message);
    if (before.size() == 1) {
      receive_waiting({message->other, message->tag});
    }
  }
}

// A message is pieces of full length and one that is shorter, of 0 bytes perhaps: so its receiver knows where it ends, who
// may have room for more.
void MpiThread::post_next(const std::shared_ptr<Message> &message) {
  const size_t count = std::min(message->count - message->done, piece_);
  post_piece(message, count);
  message->done += count;
  message->last = count < piece_;
}

void MpiThread::post_piece(const std::shared_ptr<Message> &message, size_t count) {
  char *bytes = message->bytes + message->done;
  const int number = message->sent ? calls_->send(message->other, message->tag, bytes, count)
                                   : calls_->receive(message->other, message->tag, bytes, count);
  pieces_.push_back({message, number, count});
  message->pieces++;
}

// Posts those that are waiting, up to the first of which more than one piece may come.
void MpiThread::receive_waiting(std::pair<int, int> from) {
  std::deque<std::shared_ptr<Message>> &waiting = waiting_[from];
  while (!waiting.empty()) {
    const std::shared_ptr<Message> message = waiting.front();
    post_piece(message, std::min(message->count, piece_));
    if (message->count >= piece_) {
      return;
    }
    message->last = true;
    waiting.pop_front();
  }
}

void MpiThread::piece_ended(const Piece &piece, size_t received) {
  Message &message = *piece.message;
  message.pieces--;
  if (!message.sent && leaving_ != Leaving::kNot) {
    return;
  }
  if (!message.last) {
    message.done += received;
    if (received == piece_) {
      post_piece(piece.message, std::min(message.count - message.done, piece_));
      return;
    }
    message.last = true;
    const std::pair<int, int> from(message.other, message.tag);
    waiting_[from].pop_front();
    receive_waiting(from);
  }
  if (message.pieces == 0) {
    message.ended.store(true, std::memory_order_release);
  }
}

// Whether one has ended.
bool MpiThread::test_pieces() {
  bool any = false;
  std::vector<Piece> before;
  before.swap(pieces_);
  for (size_t i = 0; i < before.size(); i++) {
    size_t received = 0;
    if (calls_->has_ended(before[i].number, received)) {
      any = true;
      piece_ended(before[i], received);
    } else {
      pieces_.push_back(std::move(before[i]));
    }
  }
  return any;
}

void MpiThread::let_go_of_receives() {
  for (const Piece &piece : pieces_) {
    if (!piece.message->sent) {
      calls_->cancel(piece.number);
    }
  }
  waiting_.clear();
}

// Nobody has to wait until a rank that has left receives something.
void MpiThread::take_unwanted() {
  for (size_t count = 0; calls_->find(count);) {
    const auto message = std::make_shared<Message>();
    message->unwanted = std::make_unique<char[]>(count + 1);
    pieces_.push_back({message, calls_->take(message->unwanted.get(), count), count});
  }
}

void MpiThread::step_of_leaving() {
  if (deadline_ < 0) {
    return;
  }
  if (leaving_ == Leaving::kNot) {
    leaving_ = Leaving::kDraining;
    let_go_of_receives();
  }
  take_unwanted();
  if (leaving_ == Leaving::kDraining && pieces_.empty()) {
    barrier_ = calls_->barrier();
    leaving_ = Leaving::kBarrier;
  }
  size_t nothing;
  if (leaving_ == Leaving::kBarrier && calls_->has_ended(barrier_, nothing)) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      all_left_ = true;
    }
    leaving_ = Leaving::kTogether;
    together_.happen();
    take_unwanted();  // what came before the last of the barrier
  }
  if (leaving_ == Leaving::kTogether && pieces_.empty()) {
    if (started_) {
      calls_->part();
    } else {
      calls_->finalize();
    }
    ends_ = true;
  }
  ends_ = ends_ || now() > deadline_;
}

}  // namespace infonce::mpi

#endif

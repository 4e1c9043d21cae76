#ifdef __linux__

#include "mpi/mpi_thread.h"

#include <algorithm>
#include <cstdio>
#include <unistd.h>

#include "mpi/cannot_start.h"

namespace infonce::mpi {

namespace {

using group::kMicrosecond;
using group::kNap;
using group::kPatience;
using group::kPatientNap;
using group::kSecond;
using group::kSpin;
using group::now;
using group::wait_for;

constexpr int64_t kLongestNap = 1000 * kMicrosecond;
// MPI_Finalize is quick once all ranks are there for it, or does not return: that of MPICH 4.0.2 over UCX and TCP, at times.
constexpr int64_t kForFinalize = 5 * kSecond;
constexpr double kForExit = 0.2;

}  // namespace

MpiThread::MpiThread(std::unique_ptr<Calls> calls, bool started, size_t piece)
    : calls_(std::move(calls)), started_(started), piece_(piece), process_(getpid()) {}

std::shared_ptr<MpiThread> MpiThread::start(std::unique_ptr<Calls> calls, bool started, size_t piece, double seconds) {
  const std::shared_ptr<MpiThread> thread(new MpiThread(std::move(calls), started, piece));
  if (!thread->LibraryThread::start(seconds)) {
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
  if (begin()) {
    while (!ends_ && !stop_) {
      try {
        step();
      } catch (const std::exception &failure) {
        lose(failure.what());
        ends_ = true;
      }
    }
  }
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
    end_at_exit(true);
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
  post_all();
  if (test_pieces()) {
    changed_ = now();
  }
  step_of_leaving();
  if (!ends_) {
    rest();
  }
}

bool MpiThread::leave(double seconds) {
  const int64_t deadline = ask_to_leave(seconds);
  wait_for(together_, deadline);
  wait_for(stopped_, now() + kForFinalize);
  const std::lock_guard<std::mutex> lock(mutex_);
  return all_left_;
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

// Without messages under way naps grow longer.
void MpiThread::rest() {
  const int64_t since = now() - changed_;
  if (since < kSpin) {
    return;
  }
  int64_t length = kNap;
  if (pieces_.empty() && leaving_ == Leaving::kNot) {
    calls_->poll();  // what was sent may be in buffers of the library still
    length = since / 10;
  } else if (since > kPatience) {
    length = kPatientNap;
  }
  nap(std::clamp(length, kNap, kLongestNap));
}

void MpiThread::post_all() {
  for (const Messages &posted : take_posts()) {
    for (const std::shared_ptr<Message> &message : posted) begin_message(message);
  }
}

void MpiThread::begin_message(const std::shared_ptr<Message> &message) {
  changed_ = now();
  if (message->sent) {
    while (!message->last) {
      post_next(message);
    }
    return;
  }
  std::deque<std::shared_ptr<Message>> &before = waiting_[{message->other, message->tag}];
  before.push_back(message);
  if (before.size() == 1) {
    receive_waiting({message->other, message->tag});
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

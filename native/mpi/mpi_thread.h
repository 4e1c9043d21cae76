// The thread on which all of MPI runs: it starts MPI, takes what is to be sent and received, and moves it on until it has
// ended, also while nobody asks.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "group/event.h"
#include "mpi/calls.h"

namespace infonce::mpi {

// A message, whole.
struct Message {
  bool sent = false;
  int other = 0;  // its receiver or sender
  int tag = 0;
  char *bytes = nullptr;
  size_t count = 0;
  std::unique_ptr<char[]> unwanted;  // holds the bytes of what came when this rank had left

  // Of the thread alone.
  size_t done = 0;    // bytes that are posted, or have come
  int pieces = 0;     // that are under way
  bool last = false;  // all pieces are posted

  std::atomic<bool> ended{false};
};

class MpiThread : public std::enable_shared_from_this<MpiThread> {
 public:
  // Starts MPI unless somebody else `started` it. Returns when all ranks have come, or throws what kept them.
  static std::shared_ptr<MpiThread> start(std::unique_ptr<Calls> calls, bool started, size_t piece, double seconds);

  const Place &place() const { return place_; }

  // These are for any thread. Throws group::Lost, as the next does.
  void post(std::shared_ptr<Message> message);
  bool has_ended(const Message &message);

  // Whether all ranks have left in time; then MPI is ended, too, where it was started here.
  bool leave(double seconds);
  // Nothing moves any more, and nothing is finalized.
  void abandon(double seconds);
  // The same, as the process exits with this status.
  void end_with_process(int status);

 private:
  enum class Leaving { kNot, kDraining, kBarrier, kTogether };

  struct Piece {
    std::shared_ptr<Message> message;
    int number;
    size_t count;
  };

  MpiThread(std::unique_ptr<Calls> calls, bool started, size_t piece);

  void run();
  bool begin();
  void step();
  void take_posts();
  void post_next(const std::shared_ptr<Message> &message);
  void post_piece(const std::shared_ptr<Message> &message, size_t count);
  void piece_ended(const Piece &piece, size_t received);
  void receive_waiting(std::pair<int, int> from);
  bool test_pieces();
  void let_go_of_receives();
  void take_unwanted();
  void step_of_leaving();
  void lose(const std::string &reason);
  void lose_once(const std::string &reason);
  void wake();
  void nap();

  // Of the thread alone, once it runs.
  const std::unique_ptr<Calls> calls_;
  const bool started_;  // by somebody else
  const size_t piece_;
  const int process_;
  std::vector<Piece> pieces_;
  // Those of one sender and tag that cannot be posted before an earlier one has all its pieces.
  std::map<std::pair<int, int>, std::deque<std::shared_ptr<Message>>> waiting_;
  int64_t changed_ = 0;    // when something was posted or ended
  int64_t deadline_ = -1;  // for leaving; -1: not asked for
  bool ends_ = false;
  Leaving leaving_ = Leaving::kNot;
  int barrier_ = 0;

  Place place_{};
  std::exception_ptr failure_;                        // of the start
  group::Event begun_, together_, stopped_, posted_;  // together: all have left, or it has stopped

  std::mutex mutex_;
  std::vector<std::shared_ptr<Message>> posts_;
  std::string lost_;  // why nothing can be posted any more, nor ends; empty: it can
  int64_t asked_to_leave_ = -1;
  bool all_left_ = false;
  std::atomic<bool> is_lost_{false};
  std::atomic<bool> naps_{false};
  std::atomic<bool> stop_{false};
};

}  // namespace infonce::mpi

// The thread on which all of MPI runs: it starts MPI, posts messages, and makes progress until they have ended, even
// while no caller waits.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "group/library_thread.h"
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

class MpiThread final : public group::ThreadOf<Message> {
 public:
  // Starts MPI unless somebody else `started` it. Returns when all ranks have come, or throws what kept them.
  static std::shared_ptr<MpiThread> start(std::unique_ptr<Calls> calls, bool started, size_t piece, double seconds);

  const Place &place() const { return place_; }

  // Whether all ranks have left in time; then MPI is ended, too, where it was started here.
  bool leave(double seconds);

 private:
  enum class Leaving { kNot, kDraining, kBarrier, kTogether };

  struct Piece {
    std::shared_ptr<Message> message;
    int number;
    size_t count;
  };

  MpiThread(std::unique_ptr<Calls> calls, bool started, size_t piece);

  void run() override;
  void end_with_process(int status) override;
  bool begin();
  void step();
  void post_all();
  void begin_message(const std::shared_ptr<Message> &message);
  void post_next(const std::shared_ptr<Message> &message);
  void post_piece(const std::shared_ptr<Message> &message, size_t count);
  void piece_ended(const Piece &piece, size_t received);
  void receive_waiting(std::pair<int, int> from);
  bool test_pieces();
  void let_go_of_receives();
  void take_unwanted();
  void step_of_leaving();
  void rest();

  // Of the thread alone, once it runs.
  const std::unique_ptr<Calls> calls_;
  const bool started_;  // by somebody else
  const size_t piece_;
  const int process_;
  std::vector<Piece> pieces_;
  // Those of one sender and tag that cannot be posted before an earlier one has all its pieces.
  std::map<std::pair<int, int>, std::deque<std::shared_ptr<Message>>> waiting_;
  int64_t changed_ = 0;  // when something was posted or ended
  bool ends_ = false;
  Leaving leaving_ = Leaving::kNot;
  int barrier_ = 0;

  Place place_{};
  std::exception_ptr failure_;  // of the start
  group::Event together_;       // all have left, or it has stopped
  bool all_left_ = false;       // under the mutex
};

}  // namespace infonce::mpi

#include "group/local_transport.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

namespace infonce::group {
namespace {

// Either half of a message; who comes second copies the bytes.
struct Half {
  const void *from = nullptr;  // of the half that is sent
  void *to = nullptr;          // of the one that is awaited
  size_t count = 0;
  bool ended = false;
  std::vector<char> kept = {};  // what a rank that has left had sent
};

void copy(const Half &sent, Half *awaited) {
  const size_t count = std::min(sent.count, awaited->count);
  if (count > 0) std::memcpy(awaited->to, sent.from, count);
}

// Where the ranks of one group meet.
struct Meeting {
  struct Mailbox {
    std::deque<std::shared_ptr<Half>> sent, awaited;  // one of them is empty
  };

  explicit Meeting(int size) : size(size), present(size), left(size) {}

  const int size;
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<bool> present, left;
  int count = 0;
  std::map<std::pair<std::pair<int, int>, Channel>, Mailbox> mailboxes;  // by sender and receiver
};

// Groups that wait for ranks.
struct Meetings {
  std::mutex mutex;
  std::map<std::string, std::weak_ptr<Meeting>> by_key;
};

Meetings &meetings() {
  static Meetings &all = *new Meetings;  // threads may outlive static objects
  return all;
}

std::shared_ptr<Meeting> meeting_of(const std::string &key, int rank, int size) {
  const std::lock_guard<std::mutex> lock(meetings().mutex);
  std::shared_ptr<Meeting> meeting = meetings().by_key[key].lock();
  if (!meeting) meetings().by_key[key] = meeting = std::make_shared<Meeting>(size);
  const std::lock_guard<std::mutex> inside(meeting->mutex);
  if (meeting->size != size)
    throw std::invalid_argument("the group '" + key + "' has " + std::to_string(meeting->size) + " ranks, not " +
                                std::to_string(size));
  if (meeting->present[rank])
    throw std::invalid_argument("rank " + std::to_string(rank) + " of the group '" + key + "' is taken");
  meeting->present[rank] = true;
  // The key is free for another group when all have found this one.
  if (++meeting->count == size) meetings().by_key.erase(key);
  meeting->changed.notify_all();
  return meeting;
}

// Whether the others were not all there after all. Afterwards this rank is not, either.
bool withdraw(const std::string &key, Meeting &meeting, int rank) {
  const std::lock_guard<std::mutex> lock(meetings().mutex);
  const std::lock_guard<std::mutex> inside(meeting.mutex);
  if (meeting.count == meeting.size) return false;
  meeting.present[rank] = false;
  if (--meeting.count == 0) meetings().by_key.erase(key);
  return true;
}

class LocalExchange final : public Exchange {
 public:
  // `peer`: whose half is awaited.
  LocalExchange(std::shared_ptr<Meeting> meeting, std::shared_ptr<Half> half, int peer)
      : meeting_(std::move(meeting)), half_(std::move(half)), peer_(peer) {}

  bool has_ended() override {
    const std::lock_guard<std::mutex> lock(meeting_->mutex);
    if (half_->ended || !meeting_->left[peer_]) return half_->ended;
    // Nobody reads what is sent to it; it may have said why before.
    if (half_->from) return true;
    throw Lost("rank " + std::to_string(peer_) + " left");
  }

 private:
  std::shared_ptr<Meeting> meeting_;
  std::shared_ptr<Half> half_;
  int peer_;
};

class LocalTransport final : public Transport {
 public:
  LocalTransport(std::shared_ptr<Meeting> meeting, int rank) : meeting_(std::move(meeting)), rank_(rank) {}
  ~LocalTransport() override { leave(0); }

  int rank() const override { return rank_; }
  int size() const override { return meeting_->size; }
  int local_rank() const override { return rank_; }
  int local_size() const override { return meeting_->size; }
  std::string library() const override { return "threads of one process"; }

  std::unique_ptr<Exchange> send(int to, Channel channel, const void *bytes, size_t count) override {
    const auto half = std::make_shared<Half>(Half{bytes, nullptr, count});
    const std::lock_guard<std::mutex> lock(meeting_->mutex);
    Meeting::Mailbox &box = meeting_->mailboxes[{{rank_, to}, channel}];
    if (box.awaited.empty()) {
      box.sent.push_back(half);
    } else {
      copy(*half, box.awaited.front().get());
      half->ended = box.awaited.front()->ended = true;
      box.awaited.pop_front();
    }
    return std::make_unique<LocalExchange>(meeting_, half, to);
  }

  std::unique_ptr<Exchange> receive(int from, Channel channel, void *bytes, size_t count) override {
    const auto half = std::make_shared<Half>(Half{nullptr, bytes, count});
    const std::lock_guard<std::mutex> lock(meeting_->mutex);
    Meeting::Mailbox &box = meeting_->mailboxes[{{from, rank_}, channel}];
    if (box.sent.empty()) {
      box.awaited.push_back(half);
    } else {
      copy(*box.sent.front(), half.get());
      half->ended = box.sent.front()->ended = true;
      box.sent.pop_front();
    }
    return std::make_unique<LocalExchange>(meeting_, half, from);
  }

  void abandon() noexcept override { leave(0); }

  void leave(double) override {
    const std::lock_guard<std::mutex> lock(meeting_->mutex);
    if (meeting_->left[rank_]) return;
    meeting_->left[rank_] = true;
    for (auto &[address, box] : meeting_->mailboxes) {
      const auto &[from, to] = address.first;
      if (to == rank_) box.awaited.clear();
      if (from != rank_) continue;
      // Nobody reads what was sent to a rank that has left, and its memory may be gone.
      if (meeting_->left[to]) box.sent.clear();
      for (const std::shared_ptr<Half> &half : box.sent) {
        const char *bytes = static_cast<const char *>(half->from);
        half->kept.assign(bytes, bytes + half->count);
        half->from = half->kept.data();
      }
    }
  }

 private:
  std::shared_ptr<Meeting> meeting_;
  int rank_;
};

}  // namespace

std::unique_ptr<Transport> join_local(const std::string &key, int rank, int size, double timeout,
                                      const std::atomic<bool> *abandoned) {
  const std::shared_ptr<Meeting> meeting = meeting_of(key, rank, size);
  std::unique_lock<std::mutex> lock(meeting->mutex);
  const auto all_are_there = [&] { return meeting->count == size; };
  const auto begun = std::chrono::steady_clock::now();
  const auto is_over = [&] {
    return (abandoned && *abandoned) ||
           std::chrono::steady_clock::now() - begun > std::chrono::duration<double>(timeout);
  };
  // By the clock of the system: the other one's timed wait asks for a newer glibc than Node.js does.
  const auto soon = [] { return std::chrono::system_clock::now() + std::chrono::milliseconds(10); };
  while (!meeting->changed.wait_until(lock, soon(), all_are_there)) {
    if (!is_over()) continue;
    const int missing = size - meeting->count;
    lock.unlock();
    if (!withdraw(key, *meeting, rank)) break;
    throw Lost(std::to_string(missing) + " of " + std::to_string(size) + " ranks did not come");
  }
  return std::make_unique<LocalTransport>(meeting, rank);
}

}  // namespace infonce::group

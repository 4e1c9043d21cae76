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

#include "common/call.h"

namespace infonce::group {
namespace {

// Either half of a message; who comes second copies the bytes.
struct Half {
  const void *from = nullptr;  // of the half that is sent
  void *to = nullptr;          // of the one that is awaited
  size_t count = 0;
  DeviceSide side = {};    // without a context it is on the host
  bool is_copied = false;  // now, by a device
  bool ended = false;
  std::string failure = {};     // why it did not arrive
  std::vector<char> kept = {};  // what a rank that has left had sent

  bool is_on_device() const { return side.context != nullptr; }
};

// Of two halves on devices the context of the one that came second copies.
infonce_status copy_by_device(const Half &sent, const Half &awaited, const Half &second, int64_t bytes,
                              infonce_failure *failure) {
  if (!sent.is_on_device() || !awaited.is_on_device()) {
    const DeviceSide &side = sent.is_on_device() ? sent.side : awaited.side;
    const int32_t direction = sent.is_on_device() ? INFONCE_COPY_FROM_DEVICE : INFONCE_COPY_TO_DEVICE;
    return side.backend->copy(side.context, awaited.to, sent.from, bytes, direction, failure);
  }
  if (sent.side.backend != awaited.side.backend) {  // neither knows the other's contexts
    return guarded(failure, [&] {
      std::vector<char> on_host(static_cast<size_t>(bytes));
      const infonce_status status = sent.side.backend->copy(sent.side.context, on_host.data(), sent.from, bytes,
                                                            INFONCE_COPY_FROM_DEVICE, failure);
      if (status != INFONCE_OK) return status;
      return awaited.side.backend->copy(awaited.side.context, awaited.to, on_host.data(), bytes, INFONCE_COPY_TO_DEVICE,
                                        failure);
    });
  }
  const DeviceSide &here = second.side, &there = (&second == &sent ? awaited : sent).side;
  return here.backend->copy_between(here.context, there.context, awaited.to, sent.from, bytes, there.ready, failure);
}

// Where the ranks of one group meet.
struct Meeting {
  struct Mailbox {
    std::deque<std::shared_ptr<Half>> sent, awaited;  // one of them is empty
  };

  explicit Meeting(int size) : size(size), present(size), left(size), copies(size) {}

  const int size;
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<bool> present, left;
  std::vector<int> copies;  // by devices, under way from or to each rank's memory
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
    if (!half_->failure.empty())
      throw Lost("a message between this rank and rank " + std::to_string(peer_) +
                 " did not arrive: " + half_->failure);
    if (half_->ended || half_->is_copied || !meeting_->left[peer_]) return half_->ended;
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
    return post(Half{bytes, nullptr, count}, true, to, channel);
  }

  std::unique_ptr<Exchange> receive(int from, Channel channel, void *bytes, size_t count) override {
    return post(Half{nullptr, bytes, count}, false, from, channel);
  }

  // Devices copy to each other.
  bool takes_memory_of(int device) const override { return device >= 0; }

  std::unique_ptr<Exchange> send_from_device(int to, Channel channel, const void *bytes, size_t count,
                                             const DeviceSide &side) override {
    return post(Half{bytes, nullptr, count, side}, true, to, channel);
  }

  std::unique_ptr<Exchange> receive_on_device(int from, Channel channel, void *bytes, size_t count,
                                              const DeviceSide &side) override {
    return post(Half{nullptr, bytes, count, side}, false, from, channel);
  }

  void abandon() noexcept override { leave(0); }

  void leave(double) override {
    std::unique_lock<std::mutex> lock(meeting_->mutex);
    if (meeting_->left[rank_]) return;
    meeting_->left[rank_] = true;
    for (auto &[address, box] : meeting_->mailboxes) {
      const auto &[from, to] = address.first;
      if (to == rank_) box.awaited.clear();
      if (from != rank_) continue;
      // Nobody reads what was sent to a rank that has left, and its memory may be gone.
      if (meeting_->left[to]) box.sent.clear();
      // What is on a device goes with its context. It is of a step that does not end, so nobody goes on with it.
      const auto is_on_device = [](const std::shared_ptr<Half> &half) { return half->is_on_device(); };
      box.sent.erase(std::remove_if(box.sent.begin(), box.sent.end(), is_on_device), box.sent.end());
      for (const std::shared_ptr<Half> &half : box.sent) {
        const char *bytes = static_cast<const char *>(half->from);
        half->kept.assign(bytes, bytes + half->count);
        half->from = half->kept.data();
      }
    }
    // Of or to memory that may go afterwards.
    meeting_->changed.wait(lock, [this] { return meeting_->copies[rank_] == 0; });
  }

 private:
  std::unique_ptr<Exchange> post(Half half, bool sends, int peer, Channel channel) {
    const auto mine = std::make_shared<Half>(std::move(half));
    std::unique_lock<std::mutex> lock(meeting_->mutex);
    Meeting::Mailbox &box = meeting_->mailboxes[{{sends ? rank_ : peer, sends ? peer : rank_}, channel}];
    std::deque<std::shared_ptr<Half>> &theirs = sends ? box.awaited : box.sent;
    if (theirs.empty()) {
      (sends ? box.sent : box.awaited).push_back(mine);
    } else {
      const std::shared_ptr<Half> other = std::move(theirs.front());
      theirs.pop_front();
      deliver(sends ? *mine : *other, sends ? *other : *mine, *mine, peer, lock);
    }
    return std::make_unique<LocalExchange>(meeting_, mine, peer);
  }

  void deliver(Half &sent, Half &awaited, const Half &second, int peer, std::unique_lock<std::mutex> &lock) {
    const size_t count = std::min(sent.count, awaited.count);
    if (count > 0 && (sent.is_on_device() || awaited.is_on_device())) {
      // Takes longer than others should wait for the lock.
      infonce_failure failure{};
      failure.struct_size = sizeof failure;
      sent.is_copied = awaited.is_copied = true;
      for (const int rank : {rank_, peer}) ++meeting_->copies[rank];
      lock.unlock();
      const infonce_status status = copy_by_device(sent, awaited, second, int64_t(count), &failure);
      lock.lock();
      for (const int rank : {rank_, peer}) --meeting_->copies[rank];
      sent.is_copied = awaited.is_copied = false;
      if (status != INFONCE_OK) sent.failure = awaited.failure = failure.message;
      meeting_->changed.notify_all();
    } else if (count > 0) {
      std::memcpy(awaited.to, sent.from, count);
    }
    sent.ended = awaited.ended = true;
  }

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

#include "group/mail.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>

namespace infonce::group {
namespace {

using Clock = std::chrono::steady_clock;

// A message within a host takes microseconds, one that waits for another rank's kernels milliseconds.
void nap(std::chrono::microseconds waited) {
  using std::chrono::microseconds;
  if (waited < microseconds(20)) return std::this_thread::yield();
  std::this_thread::sleep_for(waited < microseconds(5000) ? microseconds(50) : microseconds(1000));
}

}  // namespace

// For ever: a message may yet arrive in it.
void Mail::abandon(std::unique_ptr<State> state) {
  static std::mutex &mutex = *new std::mutex;
  static auto &abandoned = *new std::vector<std::unique_ptr<State>>;
  const std::lock_guard<std::mutex> lock(mutex);
  abandoned.push_back(std::move(state));
}

Mail::Mail(const Post &post) : post_(post), state_(std::make_unique<State>(post.kind)) {}

Mail::~Mail() {
  if (state_->posted.empty()) {
    for (Memory::Piece &piece : state_->memory) post_.memory.give_back(std::move(piece));
  } else {
    abandon(std::move(state_));
  }
}

// At least a byte, so that every message has an address.
char *Mail::memory(size_t bytes) {
  state_->memory.push_back(post_.memory.take(bytes + 1, post_.kind));
  return state_->memory.back().bytes();
}

// Messages on their way may still ask for the point. A device that has none is lost, which the context's next call tells.
DeviceSide Mail::side() {
  const MemoryKind &kind = state_->kind;
  if (state_->posted.empty()) kind.backend->mark(kind.context, &state_->ready, nullptr);
  return {kind.backend, kind.context, state_->ready};
}

void Mail::send(int to, Channel channel, const void *bytes, size_t count) {
  Transport &transport = post_.transport;
  state_->posted.push_back({post_.kind.is_on_device() ? transport.send_from_device(to, channel, bytes, count, side())
                                                      : transport.send(to, channel, bytes, count),
                            to});
}

void Mail::receive(int from, Channel channel, void *bytes, size_t count) {
  Transport &transport = post_.transport;
  state_->posted.push_back({post_.kind.is_on_device() ? transport.receive_on_device(from, channel, bytes, count, side())
                                                      : transport.receive(from, channel, bytes, count),
                            from});
}

std::vector<int> Mail::peers() const {
  std::set<int> ranks;
  for (const Posted &each : state_->posted) ranks.insert(each.peer);
  return {ranks.begin(), ranks.end()};
}

std::string Mail::who_has_not_come() const {
  const std::vector<int> missing = peers();
  std::string ranks;
  for (const int rank : missing) ranks += (ranks.empty() ? "" : ", ") + std::to_string(rank);
  char seconds[32];
  std::snprintf(seconds, sizeof seconds, "%.6g s", post_.patience);
  return (missing.size() == 1 ? "rank " + ranks + " has" : "ranks " + ranks + " have") + " not come for " + seconds;
}

void Mail::wait() {
  post_.transport.dispatch();
  const Clock::time_point begun = Clock::now();
  bool has_told = false;
  std::vector<Posted> &posted = state_->posted;
  while (true) {
    const auto ended = [](const Posted &each) { return each.exchange->has_ended(); };
    posted.erase(std::remove_if(posted.begin(), posted.end(), ended), posted.end());
    if (posted.empty()) return;
    const auto waited = Clock::now() - begun;
    const double seconds = std::chrono::duration<double>(waited).count();
    if (!has_told && seconds > post_.watch.seconds()) {
      post_.watch.miss(peers());
      has_told = true;
    }
    if (seconds > post_.patience) throw Lost(who_has_not_come());
    nap(std::chrono::duration_cast<std::chrono::microseconds>(waited));
  }
}

}  // namespace infonce::group

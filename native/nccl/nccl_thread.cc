#ifdef __linux__

#include "nccl/nccl_thread.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sys/prctl.h>
#include <thread>
#include <unistd.h>

#include "group/agreement.h"
#include "group/keep_code.h"
#include "nccl/cannot_start.h"

namespace infonce::nccl {

namespace {

constexpr int64_t kMicrosecond = 1000;
constexpr int64_t kSecond = 1000000000;
constexpr int64_t kSpin = 20 * kMicrosecond;
constexpr int64_t kNap = 50 * kMicrosecond;
constexpr int64_t kPatience = kSecond;  // afterwards it is a slow rank, or a long message
constexpr int64_t kPatientNap = 200 * kMicrosecond;
constexpr int64_t kIdleNap = 100000 * kMicrosecond;  // until the next look for errors
constexpr int64_t kStartNap = 1000 * kMicrosecond;
// When all of this rank's messages are there, the others are on the way to their end, or have lost the group.
constexpr int64_t kForFinalize = 2 * kSecond;
constexpr double kForExit = 0.5;

int64_t now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

int64_t nanoseconds(double seconds) { return int64_t(std::clamp(seconds, 0.0, 1e9) * kSecond); }

bool wait_for(group::Event &event, int64_t deadline) {
  for (int64_t left = deadline - now(); left > 0; left = deadline - now())
    if (event.wait(left)) return true;
  return event.wait(0);
}

// What ranks tell each other first.
struct Greeting {
  int64_t protocol, record;
  uint64_t host;
};
constexpr int64_t kProtocol = 1;  // how messages are cut, which is the same at both ends; bump on every change

uint64_t this_host() {
  char name[256] = {};
  gethostname(name, sizeof name - 1);
  std::string boot;  // another one for each machine, also where names are the same
  std::getline(std::ifstream("/proc/sys/kernel/random/boot_id"), boot);
  group::Hash hash;
  for (const char c : name + boot) hash.add(c);
  return hash.value();
}

// Threads for which the process waits at its exit: the libraries take themselves down meanwhile. Never destroyed.
struct AtExit {
  std::mutex mutex;
  std::vector<std::weak_ptr<NcclThread>> threads;
};

AtExit &at_exit() {
  static AtExit &one = *new AtExit;
  return one;
}

void end_threads() {
  std::vector<std::weak_ptr<NcclThread>> threads;
  {
    const std::lock_guard<std::mutex> lock(at_exit().mutex);
    threads.swap(at_exit().threads);
  }
  for (const std::weak_ptr<NcclThread> &weak : threads)
    if (const std::shared_ptr<NcclThread> thread = weak.lock()) thread->abandon(kForExit);
}

// After the libraries are open, so that it is called before what they have for the exit.
void end_at_exit(const std::shared_ptr<NcclThread> &thread) {
  static std::once_flag registered;
  std::call_once(registered, [] { std::atexit(end_threads); });
  std::vector<std::weak_ptr<NcclThread>> &threads = at_exit().threads;
  const std::lock_guard<std::mutex> lock(at_exit().mutex);
  const auto is_gone = [](const std::weak_ptr<NcclThread> &each) { return each.expired(); };
  threads.erase(std::remove_if(threads.begin(), threads.end(), is_gone), threads.end());
  threads.push_back(thread);
}

}  // namespace

NcclThread::NcclThread(const NcclOptions &options) : options_(options), library_(open_nccl_library(options.library)) {}

std::shared_ptr<NcclThread> NcclThread::start(const NcclOptions &options) {
  const std::shared_ptr<NcclThread> thread(new NcclThread(options));
  group::keep_code();
  std::thread([thread] { thread->run(); }).detach();
  const bool has_begun = wait_for(thread->begun_, now() + nanoseconds(options.patience));
  const std::lock_guard<std::mutex> lock(thread->mutex_);
  if (!has_begun) {
    thread->stop_ = true;
    throw CannotStart(
        "not all of the " + std::to_string(options.size) + " ranks have come within " +
        std::to_string(int64_t(options.patience * 1000)) +
        " ms: each passes the id that one of them made, its own rank and the same size, and that one stays "
        "until all are there. NCCL_DEBUG=INFO tells what it waits for, NCCL_SOCKET_IFNAME names the "
        "network interface");
  }
  if (!thread->failure_.empty()) throw CannotStart(thread->failure_);
  return thread;
}

void NcclThread::run() {
  prctl(PR_SET_TIMERSLACK, 1 * kMicrosecond);  // else naps are longer by 50 µs
  std::string place;
  try {
    const Device device(options_.device, options_.rank);
    place = device.name();
    end_at_exit(shared_from_this());
    use(device);
  } catch (const CannotStart &failure) {
    fail(failure.what());
  } catch (const std::exception &failure) {
    lose(failure.what());
    fail(library_.name + " cannot start. " + failure.what() + ". Each rank needs a GPU of its own, here " + place +
         ": name it by `device` or CUDA_VISIBLE_DEVICES. NCCL_DEBUG=WARN says more");
  }
  begun_.happen();
  stopped_.happen();
}

// For who waits for the start; afterwards nobody does.
void NcclThread::fail(const std::string &failure) {
  const std::lock_guard<std::mutex> lock(mutex_);
  failure_ = failure;
}

void NcclThread::use(const Device &device) {
  Communicator communicator(library_, options_.id, options_.rank, options_.size);
  Rounds rounds(device, communicator, options_.size);
  try {
    meet(communicator, rounds);
    begun_.happen();
    work(communicator, rounds);
  } catch (...) {
    // Before the memory goes that both may still use: what is given back waits for nothing.
    communicator.abort();
    device.settle();
    throw;
  }
}

void NcclThread::pause(int64_t nanoseconds) const {
  if (stop_) throw group::Lost("the group was abandoned by this rank");
  std::this_thread::sleep_for(std::chrono::nanoseconds(nanoseconds));
}

// Learns which ranks are on this host.
void NcclThread::meet(Communicator &communicator, Rounds &rounds) {
  while (!communicator.is_ready()) pause(kStartNap);
  const Greeting own{kProtocol, sizeof(group::Record), this_host()};
  std::vector<Greeting> greetings(size_t(options_.size), own);
  std::vector<std::shared_ptr<Message>> messages;
  for (int other = 0; other < options_.size; ++other) {
    if (other == options_.rank) continue;
    for (const int from : {options_.rank, other}) {
      auto message = std::make_shared<Message>();
      message->sent = from == options_.rank;
      message->other = other;
      message->bytes = reinterpret_cast<char *>(&greetings[size_t(from)]);
      message->count = sizeof own;
      messages.push_back(std::move(message));
    }
  }
  if (!messages.empty()) rounds.add(std::move(messages));
  while (!rounds.is_idle())
    if (!rounds.step()) pause(kNap);
  const std::lock_guard<std::mutex> lock(mutex_);
  local_size_ = local_rank_ = 0;
  for (int rank = 0; rank < options_.size; ++rank) {
    const Greeting &theirs = greetings[size_t(rank)];
    if (theirs.protocol != own.protocol || theirs.record != own.record)
      throw CannotStart("rank " + std::to_string(rank) + " runs another version of this package than rank " +
                        std::to_string(options_.rank) + ": install the same one for all");
    if (theirs.host != own.host) continue;
    ++local_size_;
    if (rank < options_.rank) ++local_rank_;
  }
}

// Until all have left, or the group is lost.
void NcclThread::work(Communicator &communicator, Rounds &rounds) {
  int64_t changed = now();
  while (true) {
    std::vector<std::vector<std::shared_ptr<Message>>> posts;
    int64_t deadline;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      posts.swap(posts_);
      deadline = deadline_;
    }
    for (std::vector<std::shared_ptr<Message>> &group : posts) rounds.add(std::move(group));
    if (rounds.step() || !posts.empty()) changed = now();
    if (deadline >= 0 && rounds.is_idle()) return finish(communicator, deadline);
    if (deadline >= 0 && now() > deadline) throw group::Lost("not all ranks have left in time");
    if (stop_) throw group::Lost("the group was abandoned by this rank");
    check_patience(rounds);
    const int64_t since = now() - changed;
    if (since < kSpin) continue;
    posted_.wait(rounds.is_idle() ? kIdleNap : since < kPatience ? kNap : kPatientNap);
    posted_.forget();
  }
}

// Also where the thread that waits for it is held up by the device, which waits for the other rank.
void NcclThread::check_patience(const Rounds &rounds) const {
  const auto patience = std::chrono::duration<double>(std::min(options_.patience, 1e9));
  const auto since = Rounds::Clock::now() - std::chrono::duration_cast<Rounds::Clock::duration>(patience);
  const int rank = rounds.missed(since);
  if (rank < 0) return;
  throw group::Lost("rank " + std::to_string(rank) + " has not come for " + std::to_string(int(options_.patience)) +
                    " s");
}

void NcclThread::finish(Communicator &communicator, int64_t deadline) {
  const int64_t until = std::min(deadline, now() + kForFinalize);
  communicator.finalize();
  while (!communicator.is_ready()) {
    if (now() > until) throw group::Lost("not all ranks have left in time");
    pause(kStartNap);
  }
  communicator.destroy();
}

void NcclThread::post(std::vector<std::shared_ptr<Message>> group) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (is_lost_) throw group::Lost(lost_);
    posts_.push_back(std::move(group));
  }
  posted_.happen();
}

bool NcclThread::has_ended(const Message &message) {
  if (message.ended.load(std::memory_order_acquire)) return true;
  if (!is_lost_) return false;
  const std::lock_guard<std::mutex> lock(mutex_);
  throw group::Lost(lost_);
}

void NcclThread::leave(std::vector<std::shared_ptr<Message>> last, double seconds) {
  const int64_t deadline = now() + nanoseconds(seconds);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!is_lost_ && !last.empty()) posts_.push_back(std::move(last));
    lose_once("this rank has left the group");
    deadline_ = deadline;
  }
  posted_.happen();
  wait_for(stopped_, deadline + kForFinalize);
}

void NcclThread::abandon(double seconds) {
  stop_ = true;
  lose("the group was abandoned by this rank");
  posted_.happen();
  if (seconds > 0) wait_for(stopped_, now() + nanoseconds(seconds));
}

void NcclThread::lose(const std::string &reason) {
  const std::lock_guard<std::mutex> lock(mutex_);
  lose_once(reason);
}

// Under the mutex.
void NcclThread::lose_once(const std::string &reason) {
  if (is_lost_) return;
  lost_ = reason;
  is_lost_ = true;
}

}  // namespace infonce::nccl

#endif

#ifdef __linux__

#include "nccl/nccl_thread.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <thread>
#include <unistd.h>
#include <vector>

#include "group/agreement.h"
#include "nccl/cannot_start.h"

namespace infonce::nccl {

namespace {

using group::kMicrosecond;
using group::kNap;
using group::kPatience;
using group::kPatientNap;
using group::kSecond;
using group::kSpin;
using group::now;

constexpr int64_t kIdleNap = 100000 * kMicrosecond;  // until the next look for errors
constexpr int64_t kStartNap = 1000 * kMicrosecond;
// When all of this rank's messages are there, the others are on the way to their end, or have lost the group.
constexpr int64_t kForFinalize = 2 * kSecond;
constexpr double kForExit = 0.5;

// What ranks tell each other first.
struct Greeting {
  int64_t protocol, record;
  uint64_t host;
};
constexpr int64_t kProtocol = 2;  // how messages are cut, which is the same at both ends; bump on every change

uint64_t this_host() {
  char name[256] = {};
  gethostname(name, sizeof name - 1);
  std::string boot;  // another one for each machine, also where names are the same
  std::getline(std::ifstream("/proc/sys/kernel/random/boot_id"), boot);
  group::Hash hash;
  for (const char c : name + boot) hash.add(c);
  return hash.value();
}

}  // namespace

NcclThread::NcclThread(const NcclOptions &options) : options_(options), library_(open_nccl_library(options.library)) {}

std::shared_ptr<NcclThread> NcclThread::start(const NcclOptions &options) {
  const std::shared_ptr<NcclThread> thread(new NcclThread(options));
  const bool has_begun = thread->LibraryThread::start(options.patience);
  const std::lock_guard<std::mutex> lock(thread->mutex_);
  if (!has_begun) {
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
  std::string place;
  try {
    const Device device(options_.device, options_.rank);
    place = device.name();
    device_ = device.ordinal();
    end_at_exit(false);
    use(device);
  } catch (const CannotStart &failure) {
    fail(failure.what());
  } catch (const std::exception &failure) {
    lose(failure.what());
    fail(library_.name + " cannot start. " + failure.what() + ". Each rank needs a GPU of its own, here " + place +
         ": name it by `device` or CUDA_VISIBLE_DEVICES. NCCL_DEBUG=WARN says more");
  }
}

void NcclThread::end_with_process(int) { abandon(kForExit); }

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
    std::vector<Messages> posts = take_posts();
    for (Messages &group : posts) rounds.add(std::move(group));
    if (rounds.step() || !posts.empty()) changed = now();
    if (deadline_ >= 0 && rounds.is_idle()) return finish(communicator);
    if (deadline_ >= 0 && now() > deadline_) throw group::Lost("not all ranks have left in time");
    if (stop_) throw group::Lost("the group was abandoned by this rank");
    check_patience(rounds);
    const int64_t since = now() - changed;
    if (since < kSpin) continue;
    nap(rounds.is_idle() ? kIdleNap : since < kPatience ? kNap : kPatientNap);
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

void NcclThread::finish(Communicator &communicator) {
  const int64_t until = std::min(deadline_, now() + kForFinalize);
  communicator.finalize();
  while (!communicator.is_ready()) {
    if (now() > until) throw group::Lost("not all ranks have left in time");
    pause(kStartNap);
  }
  communicator.destroy();
}

void NcclThread::leave(Messages last, double seconds) {
  if (!last.empty()) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!is_lost_) add(std::move(last));
  }
  group::wait_for(stopped_, ask_to_leave(seconds) + kForFinalize);
}

}  // namespace infonce::nccl

#endif

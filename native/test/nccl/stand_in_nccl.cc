#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <poll.h>
#include <random>
#include <string>
#include <sys/socket.h>
#include <sys/un.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include "test/nccl/stand_in.h"

#define EXPORTED extern "C" __attribute__((visibility("default")))

namespace {

enum : int {
  kSuccess = 0,
  kSystemError = 2,
  kInvalidArgument = 4,
  kInvalidUsage = 5,
  kRemoteError = 6,
  kInProgress = 7
};
constexpr int kPollMilliseconds = 5;
constexpr auto kLaunch = std::chrono::microseconds(200);  // until what was asked for is in the stream

struct Id {
  char bytes[128];
};

struct Config {
  size_t size;
  unsigned magic, version;
  int blocking;
};

struct Operation {
  bool sent;
  void *bytes;
  size_t count;
  int type, peer;
  CUstream_st *stream;
};

struct Frame {
  enum Kind : int32_t { kData, kTaken };
  int32_t kind, type;
  uint64_t count, group;  // the number of the group among those of this pair
};

// A connection with one other rank.
struct Peer {
  int socket = -1;
  uint64_t group = 0;
  std::vector<char> incoming;
  bool closed = false;
};

struct Error {
  int code;
  std::string text;
};

int number(const char *variable, int otherwise) {
  const char *text = std::getenv(variable);
  return text ? std::atoi(text) : otherwise;
}

}  // namespace

struct ncclComm {
  Id id;
  int rank, size;
  std::vector<Peer> peers;
  std::atomic<int> state{kInProgress};
  std::atomic<bool> aborted{false};
  std::mutex mutex;
  std::condition_variable changed;
  std::string text;
  std::deque<std::function<void()>> jobs;
  bool ends = false;
  std::atomic<int> running{0};
  int groups = 0;
  std::thread worker;

  bool has_failed() const {
    const int now = state;  // once: it changes between the other two
    return now != kSuccess && now != kInProgress;
  }

  // The first one stays.
  void fail(const Error &error) {
    const std::lock_guard<std::mutex> lock(mutex);
    if (has_failed()) return;
    text = error.text;
    state = error.code;
  }

  void begin() {
    int expected = kSuccess;
    state.compare_exchange_strong(expected, kInProgress);
  }

  // Unless it has failed.
  void succeed() {
    int expected = kInProgress;
    state.compare_exchange_strong(expected, kSuccess);
  }

  void start(std::function<void()> first) {
    worker = std::thread([this, first] {
      first();
      std::unique_lock<std::mutex> lock(mutex);
      while (true) {
        changed.wait(lock, [this] { return ends || !jobs.empty(); });
        if (jobs.empty()) return;
        const std::function<void()> job = std::move(jobs.front());
        jobs.pop_front();
        lock.unlock();
        job();
        lock.lock();
      }
    });
  }

  void add(std::function<void()> job) {
    const std::lock_guard<std::mutex> lock(mutex);
    jobs.push_back(std::move(job));
    changed.notify_all();
  }

  void stop() {
    {
      const std::lock_guard<std::mutex> lock(mutex);
      ends = true;
    }
    changed.notify_all();
    worker.join();
    while (running > 0) std::this_thread::sleep_for(std::chrono::microseconds(100));
    for (const Peer &peer : peers)
      if (peer.socket >= 0) close(peer.socket);
  }
};

namespace {

using infonce::test::do_in_stream;

void check_not_aborted(const ncclComm &comm) {
  if (comm.aborted) throw Error{kRemoteError, "the communicator was aborted"};
}

sockaddr_un address_of(const Id &id, int rank, socklen_t &length) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  // In no folder: a name that begins with zero.
  const int written = std::snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "%s-%d", id.bytes, rank);
  length = socklen_t(offsetof(sockaddr_un, sun_path) + 1 + size_t(written));
  return address;
}

int new_socket() { return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0); }

void read_whole(const ncclComm &comm, int socket, void *bytes, size_t count) {
  for (size_t done = 0; done < count;) {
    check_not_aborted(comm);
    pollfd what = {socket, POLLIN, 0};
    if (poll(&what, 1, kPollMilliseconds) == 0) continue;
    const ssize_t got = read(socket, static_cast<char *>(bytes) + done, count - done);
    if (got <= 0) throw Error{kRemoteError, "a rank left while others were joining"};
    done += size_t(got);
  }
}

struct Greeting {
  int rank, size;
};

// A connection between any two ranks.
void connect_all(ncclComm &comm) {
  socklen_t length;
  sockaddr_un address = address_of(comm.id, comm.rank, length);
  struct Listener {
    int socket = new_socket();
    ~Listener() { close(socket); }
  } listener;
  if (bind(listener.socket, reinterpret_cast<sockaddr *>(&address), length) != 0)
    throw Error{kInvalidUsage, "rank " + std::to_string(comm.rank) + " is there twice"};
  listen(listener.socket, comm.size);
  const Greeting own{comm.rank, comm.size};
  const auto keep = [&](int socket, const Greeting &theirs) {
    if (theirs.size != comm.size) throw Error{kInvalidArgument, "ranks were told different sizes"};
    fcntl(socket, F_SETFL, O_NONBLOCK);
    comm.peers[size_t(theirs.rank)].socket = socket;
  };
  for (int rank = 0; rank < comm.rank; ++rank) {
    const int socket = new_socket();
    address = address_of(comm.id, rank, length);
    while (connect(socket, reinterpret_cast<sockaddr *>(&address), length) != 0) {
      check_not_aborted(comm);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    Greeting theirs;
    if (write(socket, &own, sizeof own) != sizeof own) throw Error{kSystemError, "write"};
    read_whole(comm, socket, &theirs, sizeof theirs);
    keep(socket, theirs);
  }
  for (int rank = comm.rank + 1; rank < comm.size; ++rank) {
    pollfd what = {listener.socket, POLLIN, 0};
    while (poll(&what, 1, kPollMilliseconds) == 0) check_not_aborted(comm);
    const int socket = accept4(listener.socket, nullptr, nullptr, SOCK_CLOEXEC);
    Greeting theirs;
    read_whole(comm, socket, &theirs, sizeof theirs);
    if (write(socket, &own, sizeof own) != sizeof own) throw Error{kSystemError, "write"};
    keep(socket, theirs);
  }
}

// The operations of one group with one other rank.
class Pair {
 public:
  Pair(ncclComm &comm, int rank) : comm_(comm), rank_(rank), peer_(comm.peers[size_t(rank)]) { ++peer_.group; }

  void add(const Operation &operation) {
    if (!operation.sent) return receives_.push_back(operation);
    ++awaited_;
    append({Frame::kData, operation.type, operation.count, peer_.group});
    const size_t at = outgoing_.size();
    outgoing_.resize(at + operation.count);
    infonce::test::read_device(outgoing_.data() + at, operation.bytes, operation.count);
  }

  bool is_done() const { return sent_ == outgoing_.size() && receives_.empty() && awaited_ == 0; }

  void step() {
    while (sent_ < outgoing_.size()) {
      const ssize_t put = send(peer_.socket, outgoing_.data() + sent_, outgoing_.size() - sent_, MSG_NOSIGNAL);
      if (put < 0 && errno == EAGAIN) break;
      if (put < 0) throw gone();
      sent_ += size_t(put);
    }
    take();
    char bytes[65536];
    while (!is_done() && !peer_.closed) {
      const ssize_t got = read(peer_.socket, bytes, sizeof bytes);
      if (got < 0 && errno == EAGAIN) break;
      if (got <= 0) peer_.closed = true;
      else peer_.incoming.insert(peer_.incoming.end(), bytes, bytes + got);
      take();
    }
    if (!is_done() && peer_.closed) throw gone();
  }

 private:
  Error gone() const { return {kRemoteError, "rank " + std::to_string(rank_) + " has gone"}; }

  void append(const Frame &frame) {
    const char *bytes = reinterpret_cast<const char *>(&frame);
    outgoing_.insert(outgoing_.end(), bytes, bytes + sizeof frame);
  }

  // Takes what is whole of what came.
  void take() {
    std::vector<char> &incoming = peer_.incoming;
    size_t at = 0;
    Frame frame;
    while (incoming.size() - at >= sizeof frame) {
      std::memcpy(&frame, incoming.data() + at, sizeof frame);
      if (frame.kind == Frame::kTaken) {
        --awaited_;
        at += sizeof frame;
        continue;
      }
      if (frame.group == peer_.group + 1 && receives_.empty()) break;  // it has gone on
      const std::string who = "rank " + std::to_string(rank_) + " sends ";
      if (frame.group != peer_.group) throw Error{kInvalidUsage, who + "in another group than it is received in"};
      if (receives_.empty()) throw Error{kInvalidUsage, who + "what is not received"};
      const Operation &receive = receives_.front();
      if (frame.count != receive.count || frame.type != receive.type)
        throw Error{kInvalidUsage, who + std::to_string(frame.count) + " of type " + std::to_string(frame.type) +
                                       ", and " + std::to_string(receive.count) + " of type " +
                                       std::to_string(receive.type) + " are received"};
      if (incoming.size() - at < sizeof frame + frame.count) break;
      infonce::test::write_device(receive.bytes, incoming.data() + at + sizeof frame, frame.count);
      at += sizeof frame + frame.count;
      receives_.pop_front();
      append({Frame::kTaken, 0, 0, peer_.group});
    }
    incoming.erase(incoming.begin(), incoming.begin() + ptrdiff_t(at));
  }

  ncclComm &comm_;
  const int rank_;
  Peer &peer_;
  std::deque<Operation> receives_;
  std::vector<char> outgoing_;
  size_t sent_ = 0;
  int awaited_ = 0;  // until the other rank has taken them
};

void exchange(ncclComm &comm, const std::vector<Operation> &operations) {
  std::map<int, std::unique_ptr<Pair>> pairs;
  for (const Operation &operation : operations) {
    std::unique_ptr<Pair> &pair = pairs[operation.peer];
    if (!pair) pair = std::make_unique<Pair>(comm, operation.peer);
    pair->add(operation);
  }
  while (true) {
    check_not_aborted(comm);
    std::vector<pollfd> sockets;
    for (const auto &[rank, pair] : pairs) {
      if (!pair->is_done()) pair->step();
      if (!pair->is_done()) sockets.push_back({comm.peers[size_t(rank)].socket, POLLIN, 0});
    }
    if (sockets.empty()) return;
    poll(sockets.data(), sockets.size(), kPollMilliseconds);
  }
}

// "1:3": rank 1 has an error in its third group.
bool is_faulty(const ncclComm &comm) {
  const char *text = std::getenv("INFONCE_TEST_NCCL_FAULT");
  int rank = 0, group = 0;
  return text && std::sscanf(text, "%d:%d", &rank, &group) == 2 && rank == comm.rank && group == comm.groups;
}

void run(ncclComm &comm, const std::vector<Operation> &operations) {
  try {
    if (!comm.has_failed()) exchange(comm, operations);
  } catch (const Error &error) {
    comm.fail(error);
    // As on a device: what is queued behind it waits until the communicator is aborted.
    while (!comm.aborted) std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  --comm.running;
}

// The group that a thread has begun.
struct Group {
  int depth = 0;
  std::vector<std::pair<ncclComm *, Operation>> operations;
};

// By thread. Not as its own, which nobody would see go with it.
Group &group_of_thread() {
  static std::mutex mutex;
  static auto &all = *new std::map<std::thread::id, Group>;
  const std::lock_guard<std::mutex> lock(mutex);
  return all[std::this_thread::get_id()];
}

int post(ncclComm *comm, const Operation &operation) {
  if (comm->state == kInProgress) {
    comm->fail({kInvalidArgument, "the communicator is used before the last operation is under way"});
    return kInvalidArgument;
  }
  Group &group = group_of_thread();
  if (group.depth == 0) {
    comm->fail({kInvalidUsage, "a send or receive outside of a group waits for one that is not asked for yet"});
    return kInvalidUsage;
  }
  if (operation.peer < 0 || operation.peer >= comm->size || operation.peer == comm->rank) return kInvalidArgument;
  group.operations.push_back({comm, operation});
  return kSuccess;
}

}  // namespace

EXPORTED int ncclGetVersion(int *version) {
  *version = number("INFONCE_TEST_NCCL_VERSION", 22105);
  return kSuccess;
}

EXPORTED int ncclGetUniqueId(Id *id) {
  std::random_device random;
  *id = {};
  std::snprintf(id->bytes, sizeof id->bytes, "infonce-%08x%08x%08x", random(), random(), random());
  return kSuccess;
}

EXPORTED const char *ncclGetErrorString(int result) {
  switch (result) {
    case kInvalidUsage:
      return "invalid usage";
    case kRemoteError:
      return "remote process exited or there was a network error";
    default:
      return "error of the stand-in";
  }
}

EXPORTED const char *ncclGetLastError(ncclComm *comm) {
  if (!comm) return "";
  const std::lock_guard<std::mutex> lock(comm->mutex);
  return comm->text.c_str();
}

EXPORTED int ncclCommInitRankConfig(ncclComm **comm, int size, Id id, int rank, Config *config) {
  if (config->magic != 0xcafebeef || config->size < sizeof(Config) || config->version < 21400) return kInvalidArgument;
  if (config->blocking != 0 || rank < 0 || rank >= size) return kInvalidArgument;
  *comm = new ncclComm;
  ncclComm *made = *comm;
  made->id = id;
  made->rank = rank;
  made->size = size;
  made->peers.resize(size_t(size));
  made->start([made] {
    try {
      connect_all(*made);
      made->succeed();
    } catch (const Error &error) {
      made->fail(error);
    }
  });
  return kInProgress;
}

EXPORTED int ncclCommGetAsyncError(ncclComm *comm, int *error) {
  *error = comm->state;
  return kSuccess;
}

EXPORTED int ncclGroupStart() {
  ++group_of_thread().depth;
  return kSuccess;
}

EXPORTED int ncclGroupEnd() {
  Group &group = group_of_thread();
  if (group.depth == 0) return kInvalidUsage;
  if (--group.depth > 0) return kSuccess;
  std::map<ncclComm *, std::vector<Operation>> by_comm;
  for (const auto &[comm, operation] : group.operations) by_comm[comm].push_back(operation);
  group.operations.clear();
  for (auto &[comm, operations] : by_comm) {
    ncclComm *one = comm;
    one->begin();
    ++one->running;
    ++one->groups;
    if (is_faulty(*one)) one->fail({kRemoteError, "a cable was pulled"});
    one->add([one, mine = std::move(operations)] {
      std::this_thread::sleep_for(kLaunch);
      do_in_stream(
          mine.front().stream, [one, mine] { run(*one, mine); }, [one] { one->succeed(); });
    });
  }
  return by_comm.empty() ? kSuccess : kInProgress;
}

EXPORTED int ncclSend(const void *bytes, size_t count, int type, int peer, ncclComm *comm, CUstream_st *stream) {
  return post(comm, {true, const_cast<void *>(bytes), count, type, peer, stream});
}

EXPORTED int ncclRecv(void *bytes, size_t count, int type, int peer, ncclComm *comm, CUstream_st *stream) {
  return post(comm, {false, bytes, count, type, peer, stream});
}

EXPORTED int ncclCommFinalize(ncclComm *comm) {
  comm->begin();
  comm->add([comm] {
    while (comm->running > 0 && !comm->aborted) std::this_thread::sleep_for(std::chrono::microseconds(100));
    comm->succeed();
  });
  return kInProgress;
}

EXPORTED int ncclCommDestroy(ncclComm *comm) {
  comm->stop();
  delete comm;
  return kSuccess;
}

EXPORTED int ncclCommAbort(ncclComm *comm) {
  comm->aborted = true;
  return ncclCommDestroy(comm);
}

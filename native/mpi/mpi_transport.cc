#include "mpi/mpi_transport.h"

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <mutex>
#include <string>
#include <utility>

#include "common/threads.h"
#include "mpi/cannot_start.h"
#include "mpi/launcher.h"
#include "mpi/mpi_library.h"

#ifdef __linux__
#include "mpi/mpi_thread.h"
#endif

namespace infonce::mpi {

#ifdef __linux__

namespace {

// MPI that was started here. It starts once in a process.
enum class Started { kNever, kRuns, kEnded };

struct Process {
  std::mutex mutex;
  Started started = Started::kNever;
};

Process &process() {
  static Process &one = *new Process;
  return one;
}

void set_started(Started started) {
  const std::lock_guard<std::mutex> lock(process().mutex);
  process().started = started;
}

// Takes the right to start MPI.
void claim_start(const MpiLibrary &library) {
  const std::lock_guard<std::mutex> lock(process().mutex);
  if (process().started == Started::kRuns) {
    throw StartedBefore(
        "this process has a group over MPI already, and can have one alone: use that one for all calls");
  }
  if (process().started == Started::kEnded || library.calls->finalized()) {
    throw StartedBefore("MPI has ended in this process, and starts only once in a process (" + library.name +
                        "): create one group, keep it for all calls, and leave it at the end");
  }
  process().started = Started::kRuns;
}

class MpiTransport : public group::Transport {
 public:
  MpiTransport(std::shared_ptr<MpiThread> thread, std::string library, bool started_elsewhere)
      : thread_(std::move(thread)), library_(std::move(library)), started_elsewhere_(started_elsewhere) {}

  ~MpiTransport() override {
    if (!left_) {
      thread_->abandon(group::kForAbandoning);
      end();
    }
  }

  int rank() const override { return thread_->place().rank; }
  int size() const override { return thread_->place().size; }
  int local_rank() const override { return thread_->place().local_rank; }
  int local_size() const override { return thread_->place().local_size; }
  std::string library() const override { return library_; }

  std::unique_ptr<group::Exchange> send(int to, group::Channel channel, const void *bytes, size_t count) override {
    // MPI only reads what it sends.
    return post(true, to, channel, static_cast<char *>(const_cast<void *>(bytes)), count);
  }

  std::unique_ptr<group::Exchange> receive(int from, group::Channel channel, void *bytes, size_t count) override {
    return post(false, from, channel, static_cast<char *>(bytes), count);
  }

  void leave(double seconds) override {
    if (!left_) {
      left_ = true;
      thread_->leave(seconds);
      end();
    }
  }

 private:
  std::unique_ptr<group::Exchange> post(bool sent, int other, group::Channel channel, char *bytes, size_t count) {
    auto message = std::make_shared<Message>();
    message->sent = sent;
    message->other = other;
    message->tag = static_cast<int>(channel);
    message->bytes = bytes;
    message->count = count;
    thread_->post({message});
    return std::make_unique<group::ExchangeOf<MpiThread, Message>>(thread_, std::move(message));
  }

  void end() {
    if (!started_elsewhere_) {
      set_started(Started::kEnded);
    }
  }

  std::shared_ptr<MpiThread> thread_;
  std::string library_;
  bool started_elsewhere_;
  bool left_ = false;
};

const char *environment(const char *name) { return std::getenv(name); }

std::string wanted(const MpiOptions &options) {
  const char *named = environment("INFONCE_MPI_LIBRARY");
  return !options.library.empty() || named == nullptr ? options.library : named;
}

std::string text_of(const MpiLibrary &library) { return library.name + " (" + library.path + ")"; }

// MPICH aborts the process when it cannot speak with its launcher.
void check_launcher(const Launcher &launcher, const MpiLibrary &library) {
  const std::string cut_off = library.implementation == Implementation::kMpich ? what_cuts_off(environment) : "";
  if (!cut_off.empty()) {
    throw LauncherCutOff(
        launcher.name + " started this process (" + launcher.evidence + "), but " + text_of(library) +
        " cannot reach it: " + cut_off +
        ". A Node.js process between them closes what it does not know: start node itself "
        "(mpirun -n 4 node train.mjs), not through npx, npm or another Node.js program, or use Open MPI");
  }
}

void check_size(const Launcher &launcher, const MpiLibrary &library, int size) {
  if (size == 1 && launcher.size > 1) {
    throw WrongLauncher(
        launcher.name + " started " + std::to_string(launcher.size) + " processes (" + launcher.evidence + "), but " +
        text_of(library) +
        " finds this one alone, in a world of 1: they do not understand each other. Start with the "
        "mpirun of that library; srun needs the --mpi of srun --mpi=list that the library was built for "
        "(pmix for Open MPI, pmi2 or pmix for MPICH); or name the launcher's libmpi in INFONCE_MPI_LIBRARY");
  }
}

std::unique_ptr<group::Transport> join_running(MpiLibrary library, size_t piece, double seconds) {
  if (!library.calls->any_thread()) {
    throw ThreadsRefused(
        "MPI was started in this process by other code, for calls from its own thread: " + text_of(library) +
        " must be started with MPI_THREAD_MULTIPLE there, or by this package: make the group before that "
        "code starts MPI");
  }
  const std::shared_ptr<MpiThread> thread = MpiThread::start(std::move(library.calls), true, piece, seconds);
  return std::make_unique<MpiTransport>(thread, library.name, true);
}

}  // namespace

std::unique_ptr<group::Transport> open_mpi(const MpiOptions &options) {
  const Launcher launcher = find_launcher(environment);
  MpiLibrary library = open_library(wanted(options), launcher);
  const size_t piece = std::clamp<size_t>(options.piece, 1, INT_MAX);
  {
    const std::lock_guard<std::mutex> lock(process().mutex);
    if (process().started == Started::kNever && library.calls->initialized() && !library.calls->finalized()) {
      return join_running(std::move(library), piece, options.start_timeout);
    }
  }
  claim_start(library);
  try {
    check_launcher(launcher, library);
  } catch (...) {
    set_started(Started::kNever);
    throw;
  }
  std::unique_ptr<MpiTransport> transport;
  try {
    const std::shared_ptr<MpiThread> thread =
        MpiThread::start(std::move(library.calls), false, piece, options.start_timeout);
    transport = std::make_unique<MpiTransport>(thread, library.name, false);
  } catch (const NoThread &) {  // nothing of MPI has been called
    set_started(Started::kNever);
    throw;
  } catch (...) {
    set_started(Started::kEnded);
    throw;
  }
  try {
    check_size(launcher, library, transport->size());
  } catch (...) {
    transport->leave(1);
    throw;
  }
  return transport;
}

#else

std::unique_ptr<group::Transport> open_mpi(const MpiOptions &) { throw NoLibrary(kElsewhere); }

#endif

}  // namespace infonce::mpi

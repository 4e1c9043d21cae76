// A process group: what all its ranks do together. A step is everyone's, in the same order on each rank; it returns when the
// others have come.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "group/agreement.h"
#include "group/collectives.h"
#include "group/ring_call.h"
#include "group/transport.h"
#include "infonce/infonce.h"

namespace infonce::group {

// A call, and where its results go.
struct Asked {
  const infonce_problem *problem;
  infonce_result *result;
};

// Steps throw PeerFailed and Lost. After Lost there are no more: the next ones throw it at once.
class Group {
 public:
  // `patience`: seconds after which a rank that does not come is lost; after `to_miss` it is missed. `version`: of the program
  // beside the C contract's.
  Group(std::unique_ptr<Transport> transport, double patience, double to_miss = 60, std::string version = "");
  ~Group();
  Group(const Group &) = delete;
  Group &operator=(const Group &) = delete;

  const Transport &transport() const { return *transport_; }

  // Steps are taken in the order of their turns, whichever threads take them. Every turn is used once, or the others wait.
  int64_t take_turn();

  void barrier(int64_t turn);
  void all_reduce(int64_t turn, const std::vector<Numbers> &arrays, bool mean);
  // What one `run` of the backend on all ranks' matrices, one after another in the order of ranks, gives this rank: losses
  // and shares of all rows, but row losses and gradients of its own.
  infonce_status run(int64_t turn, const infonce_backend &backend, infonce_context *context,
                     const infonce_problem &problem, Gradients gradients, infonce_result *result,
                     infonce_failure *failure);
  // Several such calls as one step, which all fail with the first that does. `same`: numbers that are the same on all ranks.
  infonce_status run_several(int64_t turn, const infonce_backend &backend, infonce_context *context,
                             const std::vector<Asked> &calls, const std::vector<double> &same, Gradients gradients,
                             infonce_failure *failure);
  // The same in two halves: without gradients first, which are computed from what is saved as often as wanted.
  infonce_status forward(int64_t turn, const infonce_backend &backend, infonce_context *context,
                         const infonce_problem &problem, infonce_result *result, std::unique_ptr<RingCall> *saved,
                         infonce_failure *failure);
  infonce_status backward(int64_t turn, RingCall &saved, const infonce_upstream &upstream, Gradients gradients,
                          infonce_result *result, infonce_failure *failure);
  // In place of a step that this rank cannot take: the others are told why.
  void decline(int64_t turn, const std::string &why);
  // For a turn whose step will never be taken, here or elsewhere: the group is lost on this rank.
  void give_up(int64_t turn);

  // From any thread: whom steps have waited for since the last time, each step once.
  std::vector<Watch::Missed> take_missed() { return watch_.take(); }

  // From any thread, at the end of the process: steps that are under way or come throw Lost, and nothing is waited for.
  void abandon() noexcept;

  // Tells the others that this rank takes part in nothing any more. Not while a step is under way.
  void leave();
  // The same as the process ends well; but abandons a group that is lost, or has steps to be taken.
  void end();

 private:
  // Waits for the turn, and passes it on.
  template <class Body> auto step(int64_t turn, Body &&body);
  Record record_of(Kind kind);
  // `record`: of the step that it is, or belongs to.
  infonce_status run_one(const Record &record, const infonce_backend &backend, infonce_context *context,
                         const infonce_problem &problem, Gradients gradients, infonce_result *result,
                         infonce_failure *failure);

  const std::unique_ptr<Transport> transport_;
  Memory memory_;
  Watch watch_;
  const Post post_;
  const std::string version_;
  std::atomic<bool> abandoned_{false};
  std::mutex mutex_;
  std::condition_variable turned_;
  int64_t last_turn_ = 0, turn_ = 1;
  int64_t steps_ = 0;  // that were agreed upon
  std::string lost_;   // why the group is; empty: it is not
  std::atomic<bool> has_left_{false};
};

}  // namespace infonce::group

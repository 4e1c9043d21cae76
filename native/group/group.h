// A process group: what all its ranks do together. Every function but `rank` and the like is a step of all ranks, in the
// same order on each; it is blocked until the others have come, and throws what keeps the group from it.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "group/transport.h"
#include "infonce/infonce.h"

namespace infonce::group {

enum class Gradients { kSum, kMean };  // how the caller joins parameter gradients of the ranks

// Another rank's call cannot be computed, or does not go with this one. Nothing has moved, and the group stays usable.
class PeerFailed : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Numbers to be reduced in place.
struct Numbers {
  void *data;
  int64_t count;
  bool is_double;  // else float32
};

class Group {
 public:
  // `timeout`: seconds after which a rank that does not come is lost.
  Group(std::unique_ptr<Transport> transport, double timeout);
  ~Group();

  int rank() const { return transport_->rank(); }
  int size() const { return transport_->size(); }
  const Transport &transport() const { return *transport_; }

  void barrier();
  // Adds in the order of ranks: the same bits on every one. `mean` divides by the size.
  void all_reduce(const std::vector<Numbers> &arrays, bool mean);

  // What one `run` on all ranks' matrices, one after another in the order of ranks, gives this rank.
  infonce_status run(const infonce_backend &backend, infonce_context *context, const infonce_problem &problem,
                     Gradients gradients, infonce_result *result, infonce_failure *failure);

  // Tells the others that this rank takes part in nothing any more.
  void leave();

 private:
  std::unique_ptr<Transport> transport_;
  double timeout_;
};

}  // namespace infonce::group

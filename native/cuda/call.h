// One call on the device.
#pragma once

#include "common/call.h"
#include "cuda/work.h"

namespace infonce::cuda {

class Call {
 public:
  // The arrays and `result` must stay until end(), the problem need not.
  Call(const infonce_problem &problem, infonce_result *result, infonce_precision precision, Lane &lane,
       Part part = Part::kWhole, infonce_output logits = {});

  // After the forward call, as often as wanted: what begins next is the backward call.
  void turn_backward(const infonce_upstream &upstream, infonce_result *result, Lane &lane);

  // Bytes of the device's memory that place() takes.
  int64_t size();
  // Takes the memory, or throws OutOfMemory. What must stay until the backward call goes to `kept`.
  void place(Workspace *kept = nullptr);
  // Queues all work. The kernels come after those of `previous`, which may be null.
  void begin(Lane *previous);
  // Waits for it and fills the result, unless the caller has given device memory for the scalars. The first bad row, if
  // that is to fail the call.
  BadRow end();

  // Whether work may go on after end().
  bool returns_early() const { return work_.returns_early; }

 private:
  void list_outputs(infonce_output logits);
  void compute(Lane *previous);
  BadRow read_report();

  Work work_;
};

}  // namespace infonce::cuda

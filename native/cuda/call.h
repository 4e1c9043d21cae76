// One call on the device, or one phase of it.
#pragma once

#include "common/call.h"
#include "cuda/graph.h"
#include "cuda/work.h"

namespace infonce::cuda {

class Call {
 public:
  const Work &work() const { return work_; }

  // The arrays and `result` must stay until end(), the problem need not. `opened`: candidates come in parts.
  Call(const infonce_problem &problem, infonce_result *result, infonce_precision precision, Lane &lane,
       Phase phase = kWhole, infonce_output logits = {}, bool opened = false);
  // A part of an opened call: its sums, or its share of the gradients, of which its own is `gradient`. `bad`: its
  // first non-finite value.
  Call(const Call &opened, const infonce_part &part, const infonce_output &gradient, const BadRow &bad,
       infonce_result *result, Lane &lane, Phase phase);

  // A repetition of a call that was recorded.
  Call(const Call &recorded, infonce_result *result, Lane &lane, const int32_t *cancelled);

  // After the first phase: begins this one.
  void turn(Phase phase, infonce_result *result, Lane &lane, const int32_t *cancelled);
  // The upstream gradient of the phases from here on.
  void set_upstream(const infonce_grad_output &upstream) { work_.problem.grad_output = upstream; }
  // Of rows that travel, between this phase and the next; they wait for the device.
  void read_rows(int32_t softmax, const infonce_travelling_rows &rows, Lane &lane);
  void join_rows(int32_t softmax, const infonce_travelling_rows &rows, const BadRow &bad, Lane &lane);
  // Whether it has been given no candidates yet, and needs some.
  bool lacks_candidates() const { return work_.lacks_candidates; }
  // Takes over what a part of it has changed.
  void take_back(const Call &part);
  // Memory for what the parts of a gradient add to the anchors'.
  void place_sums_of_parts(Workspace *workspace, Lane &lane);

  // Bytes of the device's memory that place() takes.
  int64_t size();
  // Takes the memory, or throws OutOfMemory. What must stay for later phases goes to `kept`.
  void place(Workspace *kept = nullptr);
  // Queues all work. The kernels come after those of `previous`, which may be null.
  void begin(Lane *previous);
  // Waits for it and fills the result, unless the caller has given device memory for the scalars. The first bad row, if
  // that is to fail the call.
  BadRow end();

  // The same call as a graph, which a repetition launches. Its memory was placed, and stays with it.
  Graph record();
  void begin(const Graph &graph, Lane *previous);
  // What a repetition brings to the host lies in that memory until its end.
  bool brings_rows() const;
  bool brings_row_loss() const { return is_on_host(work_.outputs[kRowLoss]); }

  // Whether work may go on after end().
  bool returns_early() const { return work_.returns_early; }

 private:
  void take_some_anchors(const infonce_block &block, int64_t first, int64_t count);
  bool propagates() const { return work_.problem.propagate_non_finite != 0; }
  void list_outputs(infonce_output logits);
  static bool is_on_host(const Output &output) { return output.count > 0 && !output.on_device(); }
  void compute(Lane *previous);
  void queue_kernels(Lane *previous);
  BadRow bad_row() const;  // in the report
  void read_scalars();

  Work work_;
  BadRow bad_ = {};  // after end()
};

}  // namespace infonce::cuda

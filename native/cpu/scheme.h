// The computation of one problem, from reading the inputs to the gradients, in the same call or in later ones.
#pragma once

#include "common/call.h"
#include "cpu/workspace.h"
#include "infonce/infonce.h"

namespace infonce::cpu {

struct Request {
  infonce_problem problem;
  uint32_t gradients;  // bits by matrix: which the caller wants
  bool in_halves;      // gradients are for later calls, when the inputs are gone
  bool in_parts;       // candidates come between `open` and `close`
  bool keeps = false;  // and exponentials stay for the gradient

  bool wants(int matrix) const { return (gradients >> matrix & 1) != 0; }
};

struct Outcome {
  bool served = true;  // false: nothing was written, another scheme must serve
  BadRow bad{};        // of the inputs
};

class Scheme {
 public:
  virtual ~Scheme() = default;

  // The part that the next step is about, and whether its gradient is wanted. Null: none.
  virtual void take_up(const infonce_part *, bool) {}
  // Memory for what the gradients need of the forward pass, for what a step needs while it runs, and for what a gradient
  // pass over parts keeps.
  virtual void take_kept(Workspace::Cursor &cursor) = 0;
  virtual void take_scratch(Workspace::Cursor &cursor) = 0;
  virtual void take_gradient(Workspace::Cursor &) {}
  // Where exponentials stay until the gradient: of the part that was taken up, or of the problem.
  virtual void take_panel(Workspace::Cursor &) {}
  // Roughly what else it holds, in bytes.
  virtual int64_t tables() const { return 0; }

  // `run` is `open`, `close`, `close_gradient`; a forward call `open` and `close`; a backward call `open_gradient` and
  // `close_gradient`. Parts come in between.
  virtual Outcome open() = 0;  // reads the inputs
  virtual BadRow add() { return {}; }
  virtual Outcome close(infonce_result *result) = 0;  // writes losses, and ranks if they are wanted
  virtual void open_gradient() = 0;                   // takes up the upstream gradient of a later call
  virtual BadRow add_gradient(float *) { return {}; }
  virtual void close_gradient(infonce_result *result) = 0;  // writes gradients and grad_scale
  // Of rows that travel as parts of other calls: for the gradient once it is open, else before `close`.
  virtual void read_rows(int /* softmax */, const infonce_travelling_rows &) const {}
  virtual void join_rows(int /* softmax */, const infonce_travelling_rows &) {}
};

}  // namespace infonce::cpu

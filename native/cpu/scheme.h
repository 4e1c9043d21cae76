// How a problem is computed: one object from the first look at the inputs to the gradients, which may be asked for in
// the same call or in later ones.
#pragma once

#include "common/call.h"
#include "cpu/workspace.h"
#include "infonce/infonce.h"

namespace infonce::cpu {

struct Request {
  infonce_problem problem;
  uint32_t gradients;  // bits by matrix: which the caller wants, as far as that is left to them
  bool in_halves;      // gradients are for later calls, when the inputs are gone

  bool wants(int matrix) const { return (gradients >> matrix & 1) != 0; }
};

struct Outcome {
  bool served = true;  // false: nothing was written, another scheme must serve
  BadRow bad{};        // of the inputs
};

class Scheme {
 public:
  virtual ~Scheme() = default;

  // Memory for what the gradients need of the forward pass, and for what a call needs while it runs.
  virtual void take_kept(Workspace::Cursor &cursor) = 0;
  virtual void take_scratch(Workspace::Cursor &cursor) = 0;
  // Roughly what else it holds, in bytes.
  virtual int64_t tables() const { return 0; }

  // Reads the inputs; writes losses, and ranks if they are wanted.
  virtual Outcome forward(infonce_result *result) = 0;
  // Takes up the upstream gradient of a later call, with scratch that holds nothing yet.
  virtual void resume() = 0;
  // Writes gradients and grad_scale.
  virtual void backward(infonce_result *result) = 0;
};

}  // namespace infonce::cpu

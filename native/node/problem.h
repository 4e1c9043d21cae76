#pragma once

#include <napi.h>

#include "infonce/infonce.h"
#include "node/values.h"

namespace infonce::node {

// A `NativeProblem` as read: sizes and rules checked, arrays not looked at yet.
struct Problem {
  // Everything but the pointers and `grad_output_count`.
  infonce_problem fields{};
  // Empty where the rules need none.
  Napi::Value anchors;
  Napi::Value keys;
  Napi::Value negatives;
  Napi::Value labels;
  Napi::Value grad_output;

  bool has_keys() const;
  bool has_negatives() const;
  // Elements of anchors, and of keys.
  int64_t tower_size() const;
  int64_t negatives_size() const;
};

// The arrays of a problem, of the lengths that its sizes ask for.
struct Inputs {
  Span<float> anchors;
  Span<float> keys;
  Span<float> negatives;
  Span<int32_t> labels;
  Span<float> grad_output;

  // Points `fields` at these arrays.
  void attach(infonce_problem &fields) const;
};

// Reads a `NativeProblem`. Getters of the object may run any JavaScript, so no pointer is taken here.
Problem read_problem(Napi::Object object);

// Takes the pointers. No JavaScript runs here, nor may it until they are used or copied.
Inputs take_inputs(const Problem &problem);

}  // namespace infonce::node

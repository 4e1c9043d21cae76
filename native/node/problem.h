#pragma once

#include <napi.h>

#include "infonce/infonce.h"
#include "node/arrays.h"

namespace infonce::node {

// A `NativeProblem` as read: sizes and rules checked, arrays not looked at yet.
struct Problem {
  // Everything but the arrays: no pointers, no `on_device`, no `grad_output_count`.
  infonce_problem fields{};
  // Empty where the rules need none.
  Napi::Value anchors;
  Napi::Value keys;
  Napi::Value negatives;
  Napi::Value labels;
  Napi::Value grad_output;
};

// Reads a `NativeProblem`. Getters of the object may run any JavaScript, so no pointer is taken here.
Problem read_problem(Napi::Object object);

// Points the fields at the problem's arrays. No JavaScript runs here, nor may it until work that is done now has ended.
void take_inputs(Problem &problem, Arrays &arrays);

// The same for what a call's needs depend on: labels, and which of the others there are.
void take_presence(Problem &problem, Arrays &arrays);

// Points at an upstream gradient, which may be undefined, and returns how many numbers it has: 0, 1 or `rows`.
int64_t take_grad_output(Napi::Value value, int64_t rows, Arrays &arrays, const float *&grad_output);

bool has_keys(const infonce_problem &fields);
bool has_negatives(const infonce_problem &fields);
// Elements of anchors, and of keys.
int64_t tower_size(const infonce_problem &fields);
int64_t negatives_size(const infonce_problem &fields);

}  // namespace infonce::node

#pragma once

#include <napi.h>

#include <array>

#include "infonce/infonce.h"
#include "node/arrays.h"

namespace infonce::node {

// A `NativeProblem` as read: the C struct without its arrays, which are not looked at yet. Rules are the backend's.
struct Problem {
  infonce_problem fields{};
  struct Matrix {
    Napi::Value data, ids, bias, counts, guide;
  };
  // Empty: there is none.
  std::array<Matrix, INFONCE_MOST_MATRICES> matrices;
  Napi::Value targets, grad_output;
};

// Getters of the object may run any JavaScript, so no pointer is taken here.
Problem read_problem(Napi::Object object);

// Points the fields at the problem's arrays. No JavaScript runs here, nor may it until work that is done now has ended.
void take_inputs(Problem &problem, Arrays &arrays);

// The same for what a call's needs depend on: ids, biases and targets, and that the others are there.
void take_presence(Problem &problem, Arrays &arrays);

// Points at an upstream gradient, which may be undefined.
infonce_grad_output take_grad_output(Napi::Value value, Arrays &arrays);

// The same problem, whose arrays may go.
infonce_problem without_arrays(infonce_problem fields);

// The rows of a softmax.
int64_t anchor_rows(const infonce_problem &fields, int softmax);

// Those of the first, which a row loss and an upstream gradient have.
int64_t loss_rows(const infonce_problem &fields);

// Elements of a matrix.
int64_t matrix_size(const infonce_problem &fields, int matrix);

}  // namespace infonce::node

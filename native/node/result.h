#pragma once

#include <napi.h>

#include <array>

#include "infonce/infonce.h"
#include "node/arrays.h"
#include "node/problem.h"

namespace infonce::node {

// The results that a call fills besides the scalars: both are set for a whole loss.
struct Fills {
  bool rows;
  bool gradients;
};

// A `NativeResult` as read: the arrays that a call fills, not looked at yet. Empty where it fills none.
struct Result {
  Napi::Value scalars;
  Napi::Value row_loss;
  std::array<Napi::Value, INFONCE_MOST_SOFTMAXES> above;     // by softmax
  std::array<Napi::Value, INFONCE_MOST_MATRICES> gradients;  // by matrix
};

// Reads a `NativeResult` for a problem. Getters of the object may run any JavaScript, so no pointer is taken here.
Result read_result(Napi::Object object, const infonce_problem &problem, Fills fills);

// A result for a backend to fill, pointing at these arrays. No JavaScript runs here, nor may it until work that is done
// now has ended.
infonce_result take_outputs(const Result &result, const infonce_problem &problem, Arrays &arrays);

}  // namespace infonce::node

#pragma once

#include <napi.h>

#include "infonce/infonce.h"
#include "node/problem.h"
#include "node/values.h"

namespace infonce::node {

// A `NativeResult` as read: the arrays that a problem fills, not looked at yet. Empty where it fills none.
struct Result {
  Napi::Value scalars;
  Napi::Value row_loss;
  Napi::Value grad_anchors;
  Napi::Value grad_keys;
  Napi::Value grad_negatives;
};

// The arrays of a result, of the lengths that the problem asks for.
struct Outputs {
  // loss, d loss / d scale, top1, top5; the seconds of upload, kernels and download
  static constexpr int64_t kScalars = 7;

  Span<double> scalars;
  Span<float> row_loss;
  Span<float> grad_anchors;
  Span<float> grad_keys;
  Span<float> grad_negatives;

  // A result for a backend to fill, pointing at these arrays.
  infonce_result fields() const;
};

// Reads a `NativeResult`. Getters of the object may run any JavaScript, so no pointer is taken here.
Result read_result(Napi::Object object, const Problem &problem);

// Takes the pointers. No JavaScript runs here, nor may it until they are filled.
Outputs take_outputs(const Result &result, const Problem &problem);

// Writes all that a result holds beside arrays.
void write_scalars(const infonce_result &fields, Span<double> scalars);

}  // namespace infonce::node

#include "node/result.h"

#include "common/problem.h"

namespace infonce::node {

Result read_result(Napi::Object object, const infonce_problem &problem, Fills fills) {
  Result result;
  result.scalars = object.Get("scalars");
  if (fills.row_loss && problem.reduction == INFONCE_REDUCTION_NONE) {
    result.row_loss = object.Get("rowLoss");
  }
  if (fills.gradients && problem.gradient) {
    result.grad_anchors = object.Get("gradAnchors");
    if (has_keys(problem)) {
      result.grad_keys = object.Get("gradKeys");
    }
    if (has_negatives(problem) && !has_memory(problem)) {
      const Napi::Value wanted = object.Get("gradNegatives");
      result.grad_negatives = wanted.IsUndefined() ? Napi::Value() : wanted;
    }
  }
  return result;
}

infonce_result take_outputs(const Result &result, const infonce_problem &problem, Arrays &arrays) {
  infonce_result fields{};
  fields.struct_size = sizeof(fields);
  arrays.scalars(result.scalars);
  if (!result.row_loss.IsEmpty()) {
    fields.row_loss = arrays.result(result.row_loss, problem.rows, INFONCE_ARRAY_ROW_LOSS, "rowLoss");
  }
  if (!result.grad_anchors.IsEmpty()) {
    fields.grad_anchors =
        arrays.result(result.grad_anchors, tower_size(problem), INFONCE_ARRAY_GRAD_ANCHORS, "gradAnchors");
  }
  if (!result.grad_keys.IsEmpty()) {
    fields.grad_keys = arrays.result(result.grad_keys, tower_size(problem), INFONCE_ARRAY_GRAD_KEYS, "gradKeys");
  }
  if (!result.grad_negatives.IsEmpty()) {
    fields.grad_negatives = arrays.result(result.grad_negatives, negatives_size(problem), INFONCE_ARRAY_GRAD_NEGATIVES,
                                          "gradNegatives");
  }
  return fields;
}

}  // namespace infonce::node

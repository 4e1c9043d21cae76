#include "node/result.h"

#include "node/values.h"

namespace infonce::node {

Result read_result(Napi::Object object, const infonce_problem &problem, Fills fills) {
  Result result;
  result.scalars = object.Get("scalars");
  if (fills.rows && problem.reduction == INFONCE_REDUCTION_NONE) {
    result.row_loss = object.Get("rowLoss");
  }
  const Napi::Value above = fills.rows && problem.ranks ? object.Get("above") : Napi::Value();
  if (!above.IsEmpty() && !above.IsUndefined()) {
    const Napi::Array by_softmax = to_array(above, "above");
    for (int s = 0; s < problem.softmax_count; ++s) {
      const Napi::Value wanted = by_softmax.Get(static_cast<uint32_t>(s));
      result.above[s] = wanted.IsUndefined() ? Napi::Value() : wanted;
    }
  }
  if (!fills.gradients || !problem.gradient) {
    return result;
  }
  const Napi::Array gradients = to_array(object.Get("gradients"), "gradients");
  for (int m = 0; m < problem.matrix_count; ++m) {
    const Napi::Value wanted = gradients.Get(static_cast<uint32_t>(m));
    result.gradients[m] = wanted.IsUndefined() ? Napi::Value() : wanted;
  }
  return result;
}

infonce_result take_outputs(const Result &result, const infonce_problem &problem, Arrays &arrays) {
  infonce_result fields{};
  fields.struct_size = sizeof(fields);
  arrays.scalars(result.scalars);
  if (!result.row_loss.IsEmpty()) {
    fields.row_loss = arrays.result(result.row_loss, loss_rows(problem), "rowLoss");
  }
  for (int s = 0; s < problem.softmax_count; ++s) {
    if (!result.above[s].IsEmpty()) {
      fields.rows[s].above = arrays.counts(result.above[s], anchor_rows(problem, s), "above");
    }
  }
  for (int m = 0; m < problem.matrix_count; ++m) {
    if (!result.gradients[m].IsEmpty()) {
      fields.gradients[m] = arrays.result(result.gradients[m], matrix_size(problem, m), "gradient");
    }
  }
  return fields;
}

}  // namespace infonce::node

#include "node/result.h"

namespace infonce::node {

Result read_result(Napi::Object object, const Problem &problem) {
  Result result;
  result.scalars = object.Get("scalars");
  if (problem.fields.reduction == INFONCE_REDUCTION_NONE) {
    result.row_loss = object.Get("rowLoss");
  }
  if (problem.fields.gradient) {
    result.grad_anchors = object.Get("gradAnchors");
    if (problem.has_keys()) {
      result.grad_keys = object.Get("gradKeys");
    }
    if (problem.has_negatives()) {
      result.grad_negatives = object.Get("gradNegatives");
    }
  }
  return result;
}

Outputs take_outputs(const Result &result, const Problem &problem) {
  Outputs outputs;
  outputs.scalars = to_span_of<double>(result.scalars, Outputs::kScalars, "scalars");
  if (!result.row_loss.IsEmpty()) {
    outputs.row_loss = to_span_of<float>(result.row_loss, problem.fields.rows, "rowLoss");
  }
  if (!result.grad_anchors.IsEmpty()) {
    outputs.grad_anchors = to_span_of<float>(result.grad_anchors, problem.tower_size(), "gradAnchors");
  }
  if (!result.grad_keys.IsEmpty()) {
    outputs.grad_keys = to_span_of<float>(result.grad_keys, problem.tower_size(), "gradKeys");
  }
  if (!result.grad_negatives.IsEmpty()) {
    outputs.grad_negatives = to_span_of<float>(result.grad_negatives, problem.negatives_size(), "gradNegatives");
  }
  return outputs;
}

infonce_result Outputs::fields() const {
  infonce_result fields{};
  fields.struct_size = sizeof(fields);
  fields.row_loss = row_loss.data;
  fields.grad_anchors = grad_anchors.data;
  fields.grad_keys = grad_keys.data;
  fields.grad_negatives = grad_negatives.data;
  return fields;
}

void write_scalars(const infonce_result &fields, Span<double> scalars) {
  scalars.data[0] = fields.loss;
  scalars.data[1] = fields.grad_scale;
  scalars.data[2] = fields.top1;
  scalars.data[3] = fields.top5;
  scalars.data[4] = fields.upload_seconds;
  scalars.data[5] = fields.kernel_seconds;
  scalars.data[6] = fields.download_seconds;
}

}  // namespace infonce::node

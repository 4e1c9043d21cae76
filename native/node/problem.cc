#include "node/problem.h"

#include "node/failure.h"

namespace infonce::node {

namespace {

int32_t read_denominator(Napi::Object object) {
  return to_enumerator(object.Get("denominator"), "denominator",
                       {{"otherAnchors", INFONCE_DENOMINATOR_OTHER_ANCHORS},
                        {"allKeys", INFONCE_DENOMINATOR_ALL_KEYS},
                        {"sharedNegatives", INFONCE_DENOMINATOR_SHARED_NEGATIVES},
                        {"ownNegatives", INFONCE_DENOMINATOR_OWN_NEGATIVES}});
}

int32_t read_positive(Napi::Object object) {
  return to_enumerator(object.Get("positive"), "positive",
                       {{"firstView", INFONCE_POSITIVE_FIRST_VIEW},
                        {"allViews", INFONCE_POSITIVE_ALL_VIEWS},
                        {"sameLabel", INFONCE_POSITIVE_SAME_LABEL},
                        {"sameIndex", INFONCE_POSITIVE_SAME_INDEX}});
}

int32_t read_reduction(Napi::Object object) {
  return to_enumerator(object.Get("reduction"), "reduction",
                       {{"mean", INFONCE_REDUCTION_MEAN},
                        {"sum", INFONCE_REDUCTION_SUM},
                        {"none", INFONCE_REDUCTION_NONE}});
}

int64_t read_views(Napi::Object object, int64_t rows) {
  const int64_t views = to_count(object.Get("views"), "views", 2);
  if (rows % views != 0) {
    throw Failure{INFONCE_INVALID_ARGUMENT, "views must divide rows"};
  }
  return views;
}

Span<float> take_grad_output(const Problem &problem) {
  const Span<float> span = to_span<float>(problem.grad_output, "gradOutput", INFONCE_INPUT_GRAD_OUTPUT);
  const auto size = static_cast<uint64_t>(span.size);
  if (size != 0 && size != 1 && size != static_cast<uint64_t>(problem.fields.rows)) {
    throw Failure{INFONCE_INVALID_ARGUMENT, "gradOutput must have 0, 1 or `rows` elements", INFONCE_INPUT_GRAD_OUTPUT};
  }
  return span;
}

}  // namespace

bool Problem::has_keys() const { return fields.denominator != INFONCE_DENOMINATOR_OTHER_ANCHORS; }

bool Problem::has_negatives() const {
  return fields.denominator == INFONCE_DENOMINATOR_SHARED_NEGATIVES ||
         fields.denominator == INFONCE_DENOMINATOR_OWN_NEGATIVES;
}

int64_t Problem::tower_size() const { return product(fields.rows, fields.dim); }

int64_t Problem::negatives_size() const {
  const int64_t rows = fields.denominator == INFONCE_DENOMINATOR_OWN_NEGATIVES
                           ? product(fields.rows, fields.negative_rows)
                           : fields.negative_rows;
  return product(rows, fields.dim);
}

Problem read_problem(Napi::Object object) {
  Problem problem;
  infonce_problem &fields = problem.fields;
  fields.struct_size = sizeof(fields);
  fields.denominator = read_denominator(object);
  fields.positive = read_positive(object);
  fields.reduction = read_reduction(object);
  fields.both_directions = to_flag(object.Get("bothDirections"), "bothDirections");
  fields.normalize = to_flag(object.Get("normalize"), "normalize");
  fields.gradient = to_flag(object.Get("gradient"), "gradient");
  fields.propagate_non_finite = to_flag(object.Get("propagateNonFinite"), "propagateNonFinite");
  fields.rows = to_count(object.Get("rows"), "rows", 1);
  fields.dim = to_count(object.Get("dim"), "dim", 1);
  fields.scale = to_number(object.Get("scale"), "scale");
  problem.anchors = object.Get("anchors");
  problem.grad_output = object.Get("gradOutput");
  if (problem.has_keys()) {
    problem.keys = object.Get("keys");
  }
  if (problem.has_negatives()) {
    fields.negative_rows = to_count(object.Get("negativeRows"), "negativeRows", 1);
    problem.negatives = object.Get("negatives");
  }
  if (fields.positive == INFONCE_POSITIVE_SAME_LABEL) {
    problem.labels = object.Get("labels");
  }
  if (fields.positive == INFONCE_POSITIVE_FIRST_VIEW || fields.positive == INFONCE_POSITIVE_ALL_VIEWS) {
    fields.views = read_views(object, fields.rows);
  }
  return problem;
}

Inputs take_inputs(const Problem &problem) {
  Inputs inputs;
  inputs.anchors = to_span_of<float>(problem.anchors, problem.tower_size(), "anchors", INFONCE_INPUT_ANCHORS);
  if (problem.has_keys()) {
    inputs.keys = to_span_of<float>(problem.keys, problem.tower_size(), "keys", INFONCE_INPUT_KEYS);
  }
  if (problem.has_negatives()) {
    inputs.negatives =
        to_span_of<float>(problem.negatives, problem.negatives_size(), "negatives", INFONCE_INPUT_NEGATIVES);
  }
  if (!problem.labels.IsEmpty()) {
    inputs.labels = to_span_of<int32_t>(problem.labels, problem.fields.rows, "labels");
  }
  if (!problem.grad_output.IsUndefined()) {
    inputs.grad_output = take_grad_output(problem);
  }
  return inputs;
}

void Inputs::attach(infonce_problem &fields) const {
  fields.anchors = anchors.data;
  fields.keys = keys.data;
  fields.negatives = negatives.data;
  fields.labels = labels.data;
  fields.grad_output = grad_output.data;
  fields.grad_output_count = static_cast<int64_t>(grad_output.size);
}

}  // namespace infonce::node

#include "node/problem.h"

#include "common/problem.h"
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

bool may_have_negatives(const infonce_problem &fields) {
  return fields.denominator == INFONCE_DENOMINATOR_SHARED_NEGATIVES ||
         fields.denominator == INFONCE_DENOMINATOR_OWN_NEGATIVES ||
         (!has_keys(fields) && fields.positive == INFONCE_POSITIVE_SAME_LABEL);
}

int64_t read_views(Napi::Object object, int64_t rows) {
  const int64_t views = to_count(object.Get("views"), "views", 2);
  if (rows % views != 0) {
    throw Failure{INFONCE_INVALID_ARGUMENT, "views must divide rows"};
  }
  return views;
}

int32_t read_type(Napi::Object object, const char *name) {
  return to_enumerator(object.Get(name), name,
                       {{"float32", INFONCE_FLOAT32}, {"float16", INFONCE_FLOAT16}, {"bfloat16", INFONCE_BFLOAT16}});
}

int64_t label_count(const infonce_problem &fields) {
  return fields.rows + (has_memory(fields) ? fields.negative_rows : 0);
}

void take_labels(Problem &problem, Arrays &arrays) {
  if (!problem.labels.IsEmpty()) {
    problem.fields.labels = arrays.labels(problem.labels, label_count(problem.fields));
  }
}

}  // namespace

bool has_keys(const infonce_problem &fields) { return !has_one_tower(fields); }

bool has_negatives(const infonce_problem &fields) { return fields.negative_rows > 0; }

int64_t tower_size(const infonce_problem &fields) { return product(fields.rows, fields.dim); }

int64_t negatives_size(const infonce_problem &fields) {
  return product(product(sets_of_negatives(fields), fields.negative_rows), fields.dim);
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
  fields.ranks = to_flag(object.Get("ranks"), "ranks");
  fields.rows = to_count(object.Get("rows"), "rows", 1);
  fields.dim = to_count(object.Get("dim"), "dim", 1);
  fields.scale = to_number(object.Get("scale"), "scale");
  problem.anchors = object.Get("anchors");
  fields.anchors_type = read_type(object, "anchorsType");
  problem.grad_output = object.Get("gradOutput");
  if (has_keys(fields)) {
    problem.keys = object.Get("keys");
    fields.keys_type = read_type(object, "keysType");
  }
  if (may_have_negatives(fields)) {
    problem.negatives = object.Get("negatives");
    if (!problem.negatives.IsUndefined() || has_keys(fields)) {
      fields.negative_rows = to_count(object.Get("negativeRows"), "negativeRows", 1);
      fields.negatives_type = read_type(object, "negativesType");
    }
  }
  if (fields.positive == INFONCE_POSITIVE_SAME_LABEL) {
    problem.labels = object.Get("labels");
  }
  if (fields.positive == INFONCE_POSITIVE_FIRST_VIEW || fields.positive == INFONCE_POSITIVE_ALL_VIEWS) {
    fields.views = read_views(object, fields.rows);
  }
  return problem;
}

void take_inputs(Problem &problem, Arrays &arrays) {
  infonce_problem &fields = problem.fields;
  fields.anchors = arrays.matrix(problem.anchors, fields.anchors_type, tower_size(fields), INFONCE_ARRAY_ANCHORS,
                                 "anchors", INFONCE_INPUT_ANCHORS);
  if (has_keys(fields)) {
    fields.keys = arrays.matrix(problem.keys, fields.keys_type, tower_size(fields), INFONCE_ARRAY_KEYS, "keys",
                                INFONCE_INPUT_KEYS);
  }
  if (has_negatives(fields)) {
    fields.negatives = arrays.matrix(problem.negatives, fields.negatives_type, negatives_size(fields),
                                     INFONCE_ARRAY_NEGATIVES, "negatives", INFONCE_INPUT_NEGATIVES);
  }
  take_labels(problem, arrays);
  fields.grad_output_count = take_grad_output(problem.grad_output, fields.rows, arrays, fields.grad_output);
}

void take_presence(Problem &problem, Arrays &arrays) {
  infonce_problem &fields = problem.fields;
  static constexpr float kThere = 0;
  fields.anchors = &kThere;
  if (has_keys(fields)) {
    fields.keys = &kThere;
  }
  if (has_negatives(fields)) {
    fields.negatives = &kThere;
  }
  take_labels(problem, arrays);
}

int64_t take_grad_output(Napi::Value value, int64_t rows, Arrays &arrays, const float *&grad_output) {
  if (value.IsUndefined()) {
    return 0;
  }
  const Span<float> span = to_span<float>(value, "gradOutput", INFONCE_INPUT_GRAD_OUTPUT);
  const auto size = static_cast<uint64_t>(span.size);
  if (size != 0 && size != 1 && size != static_cast<uint64_t>(rows)) {
    throw Failure{INFONCE_INVALID_ARGUMENT, "gradOutput must have 0, 1 or `rows` elements", INFONCE_INPUT_GRAD_OUTPUT};
  }
  grad_output = arrays.numbers(span);
  return static_cast<int64_t>(size);
}

}  // namespace infonce::node

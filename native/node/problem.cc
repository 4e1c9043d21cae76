#include "node/problem.h"

#include <cstring>
#include <string>

#include "node/failure.h"

namespace infonce::node {

namespace {

constexpr int64_t kBlockFields = 6, kSoftmaxFields = 5;
static_assert(sizeof(infonce_block) == kBlockFields * sizeof(int32_t), "blocks are read as they lie in an Int32Array");

int32_t checked_count(int64_t count, int64_t most, const char *name) {
  if (count < 1 || count > most) {
    throw Failure{INFONCE_INVALID_ARGUMENT, std::string(name) + " must be 1 to " + std::to_string(most)};
  }
  return static_cast<int32_t>(count);
}

void read_matrices(Napi::Array array, Problem &problem) {
  infonce_problem &fields = problem.fields;
  fields.matrix_count = checked_count(array.Length(), INFONCE_MOST_MATRICES, "matrices");
  for (int m = 0; m < fields.matrix_count; ++m) {
    const Napi::Object object = to_object(array.Get(static_cast<uint32_t>(m)), "matrix");
    infonce_matrix &matrix = fields.matrices[m];
    matrix.rows = to_count(object.Get("rows"), "rows", 1);
    matrix.views = to_count(object.Get("views"), "views", 1);
    matrix.type = to_int32(object.Get("type"), "type");
    problem.matrices[m] = {object.Get("data"), object.Get("ids")};
  }
}

// How many records of so many numbers an array holds.
int64_t records(size_t size, int64_t fields, const char *name) {
  if (size % static_cast<size_t>(fields) != 0) {
    throw Failure{INFONCE_INVALID_ARGUMENT,
                  std::string(name) + " must have " + std::to_string(fields) + " numbers each"};
  }
  return static_cast<int64_t>(size) / fields;
}

void read_blocks(Napi::Value value, infonce_problem &fields) {
  const Span<int32_t> span = to_span<int32_t>(value, "blocks");
  fields.block_count = checked_count(records(span.size, kBlockFields, "blocks"), INFONCE_MOST_BLOCKS, "blocks");
  std::memcpy(fields.blocks, span.data, span.size * sizeof(int32_t));
}

void read_softmaxes(Napi::Value value, infonce_problem &fields) {
  const Span<double> span = to_span<double>(value, "softmaxes");
  fields.softmax_count =
      checked_count(records(span.size, kSoftmaxFields, "softmaxes"), INFONCE_MOST_SOFTMAXES, "softmaxes");
  for (int s = 0; s < fields.softmax_count; ++s) {
    const double *values = span.data + s * kSoftmaxFields;
    for (int k = 0; k < 4; ++k) {
      if (!(values[k] >= 0 && values[k] < 1 << 16)) {
        throw Failure{INFONCE_INVALID_ARGUMENT, "softmaxes must be of small counts and a weight"};
      }
    }
    fields.softmaxes[s] = {static_cast<int32_t>(values[0]), static_cast<int32_t>(values[1]),
                           static_cast<uint32_t>(values[2]), static_cast<int32_t>(values[3]), values[4]};
  }
}

void take_ids(Problem &problem, Arrays &arrays) {
  for (int m = 0; m < problem.fields.matrix_count; ++m) {
    const Napi::Value ids = problem.matrices[m].ids;
    if (!ids.IsUndefined()) {
      problem.fields.matrices[m].ids = arrays.ids(ids, problem.fields.matrices[m].rows);
    }
  }
}

}  // namespace

int64_t loss_rows(const infonce_problem &fields) {
  const int32_t matrix = fields.softmaxes[0].anchors;
  if (matrix >= fields.matrix_count) {
    throw Failure{INFONCE_INVALID_ARGUMENT, "a softmax of an unknown matrix"};
  }
  return fields.matrices[matrix].rows;
}

int64_t matrix_size(const infonce_problem &fields, int matrix) {
  return product(fields.matrices[matrix].rows, fields.dim);
}

Problem read_problem(Napi::Object object) {
  Problem problem;
  infonce_problem &fields = problem.fields;
  fields.struct_size = sizeof(fields);
  read_matrices(to_array(object.Get("matrices"), "matrices"), problem);
  const Napi::Value blocks = object.Get("blocks");
  const Napi::Value softmaxes = object.Get("softmaxes");
  fields.reduction = to_int32(object.Get("reduction"), "reduction");
  fields.normalize = to_flag(object.Get("normalize"), "normalize");
  fields.gradient = to_flag(object.Get("gradient"), "gradient");
  fields.propagate_non_finite = to_flag(object.Get("propagateNonFinite"), "propagateNonFinite");
  fields.ranks = to_flag(object.Get("ranks"), "ranks");
  fields.dim = to_count(object.Get("dim"), "dim", 1);
  fields.scale = to_number(object.Get("scale"), "scale");
  problem.grad_output = object.Get("gradOutput");
  read_blocks(blocks, fields);
  read_softmaxes(softmaxes, fields);
  return problem;
}

void take_inputs(Problem &problem, Arrays &arrays) {
  infonce_problem &fields = problem.fields;
  for (int m = 0; m < fields.matrix_count; ++m) {
    infonce_matrix &matrix = fields.matrices[m];
    const Place place = arrays.matrix(problem.matrices[m].data, matrix.type, matrix_size(fields, m), m);
    matrix.data = place.data;
    matrix.residence = place.residence;
  }
  take_ids(problem, arrays);
  fields.grad_output = take_grad_output(problem.grad_output, arrays);
}

void take_presence(Problem &problem, Arrays &arrays) {
  static constexpr float kThere = 0;
  for (int m = 0; m < problem.fields.matrix_count; ++m) {
    problem.fields.matrices[m].data = &kThere;
  }
  take_ids(problem, arrays);
}

infonce_grad_output take_grad_output(Napi::Value value, Arrays &arrays) {
  if (value.IsUndefined()) {
    return {};
  }
  const Span<float> span = to_span<float>(value, "gradOutput", INFONCE_IN_GRAD_OUTPUT);
  return {arrays.numbers(span), static_cast<int64_t>(span.size), INFONCE_ON_HOST};
}

}  // namespace infonce::node

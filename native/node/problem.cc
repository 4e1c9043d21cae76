#include "node/problem.h"

#include <string>

#include "node/failure.h"

namespace infonce::node {

namespace {

constexpr int64_t kBlockFields = 11, kSoftmaxFields = 10;

// FLAGS of lib/runtime/native-problem.ts.
enum Flag : int32_t {
  kNormalize = 1,
  kGradient = 2,
  kPropagateNonFinite = 4,
  kRanks = 8,
  kTargets = 16,
  kGradOutput = 32
};

// ARRAYS of the same.
enum ArrayOfMatrix : int32_t { kIds = 1, kBias = 2, kCounts = 4, kGuide = 8 };

int32_t checked_count(int64_t count, int64_t most, const char *name) {
  if (count < 1 || count > most) {
    throw Failure{INFONCE_INVALID_ARGUMENT, std::string(name) + " must be 1 to " + std::to_string(most)};
  }
  return static_cast<int32_t>(count);
}

// The numbers in their order: those of the problem, then those of each matrix. Returns the flags; `arrays` by matrix.
int32_t read_numbers(Napi::Value value, infonce_problem &fields, std::array<int32_t, INFONCE_MOST_MATRICES> &arrays) {
  constexpr size_t kOfProblem = 6, kOfMatrix = 6;
  const Span<double> span = to_span<double>(value, "numbers");
  if (span.size < kOfProblem || (span.size - kOfProblem) % kOfMatrix != 0) {
    throw Failure{INFONCE_INVALID_ARGUMENT, "numbers has a part of a problem or matrix"};
  }
  const double *next = span.data;
  fields.reduction = to_int32(*next++, "reduction");
  const int32_t flags = to_int32(*next++, "flags");
  fields.normalize = (flags & kNormalize) != 0;
  fields.gradient = (flags & kGradient) != 0;
  fields.propagate_non_finite = (flags & kPropagateNonFinite) != 0;
  fields.ranks = (flags & kRanks) != 0;
  fields.dim = to_count(*next++, "dim", 1);
  fields.scale = *next++;
  fields.bias = *next++;
  fields.guide_dim = to_count(*next++, "guideDim", 0);
  fields.matrix_count = checked_count(static_cast<int64_t>((span.size - kOfProblem) / kOfMatrix), INFONCE_MOST_MATRICES,
                                      "matrices of numbers");
  for (int m = 0; m < fields.matrix_count; ++m) {
    infonce_matrix &matrix = fields.matrices[m];
    matrix.rows = to_count(*next++, "rows", 0);
    matrix.row_stride = to_count(*next++, "rowStride", 0);
    matrix.views = to_count(*next++, "views", 1);
    matrix.type = to_int32(*next++, "type");
    arrays[m] = to_int32(*next++, "arrays");
    matrix.guide_type = to_int32(*next++, "type");
  }
  return flags;
}

// Those that there are, in their order.
void read_arrays(Napi::Array array, int32_t flags, const std::array<int32_t, INFONCE_MOST_MATRICES> &arrays,
                 Problem &problem) {
  uint32_t next = 0;
  const auto take = [&](bool is_there, Napi::Value &value) {
    if (is_there) {
      value = array.Get(next++);
    }
  };
  for (int m = 0; m < problem.fields.matrix_count; ++m) {
    Problem::Matrix &matrix = problem.matrices[m];
    take(true, matrix.data);
    take((arrays[m] & kIds) != 0, matrix.ids);
    take((arrays[m] & kBias) != 0, matrix.bias);
    take((arrays[m] & kCounts) != 0, matrix.counts);
    take((arrays[m] & kGuide) != 0, matrix.guide);
  }
  take((flags & kTargets) != 0, problem.targets);
  take((flags & kGradOutput) != 0, problem.grad_output);
}

int32_t to_small(double number) {
  if (!(number >= -1 && number < 1 << 16)) {
    throw Failure{INFONCE_INVALID_ARGUMENT, "form must be of small counts, and weights"};
  }
  return static_cast<int32_t>(number);
}

// How many blocks there are, the fields of each, then those of each softmax.
void read_form(Napi::Value value, infonce_problem &fields) {
  const Span<double> span = to_span<double>(value, "form");
  const int32_t blocks = span.size == 0 ? 0 : to_small(span.data[0]);
  fields.block_count = checked_count(blocks, INFONCE_MOST_BLOCKS, "blocks of form");
  const auto size = static_cast<int64_t>(span.size) - 1 - blocks * kBlockFields;
  if (size % kSoftmaxFields != 0) {
    throw Failure{INFONCE_INVALID_ARGUMENT, "form has a part of a block or softmax"};
  }
  fields.softmax_count = checked_count(size / kSoftmaxFields, INFONCE_MOST_SOFTMAXES, "softmaxes of form");
  const double *next = span.data + 1;
  const auto small = [&] { return to_small(*next++); };
  for (int32_t b = 0; b < blocks; ++b) {
    infonce_block &block = fields.blocks[b];
    block.anchors = small();
    block.candidates = small();
    block.row_softmax = small();
    block.column_softmax = small();
    block.left_out = static_cast<uint32_t>(small());
    block.own = small();
    block.stretch = *next++;
    block.own_stretch = *next++;
    block.threshold = small();
    block.by_guide = small();
    block.threshold_margin = *next++;
  }
  for (int32_t s = 0; s < fields.softmax_count; ++s) {
    infonce_softmax &softmax = fields.softmaxes[s];
    softmax.anchors = small();
    softmax.positive = small();
    softmax.positive_matrices = static_cast<uint32_t>(small());
    softmax.row_loss = small();
    softmax.weight = *next++;
    softmax.margin = *next++;
    softmax.label_smoothing = *next++;
    softmax.tau_plus = *next++;
    softmax.beta = *next++;
    softmax.mises_fisher_sigma = *next++;
  }
}

// An entry for each row. Always copies: another thread may write to shared memory, backends index by ids and targets, and
// a bias is looked at before it is used.
void take_entries(Problem &problem, Arrays &arrays) {
  infonce_problem &fields = problem.fields;
  for (int m = 0; m < fields.matrix_count; ++m) {
    const auto &[data, ids, bias, counts, guide] = problem.matrices[m];
    infonce_matrix &matrix = fields.matrices[m];
    if (!ids.IsEmpty()) {
      matrix.ids = arrays.copy<int32_t>(ids, matrix.rows, "ids");
    }
    if (!bias.IsEmpty()) {
      matrix.bias = arrays.copy<float>(bias, matrix.rows, "bias");
    }
    if (!counts.IsEmpty()) {
      matrix.counts = arrays.copy<int32_t>(counts, loss_rows(fields), "counts");
    }
  }
  if (!problem.targets.IsEmpty()) {
    fields.softmaxes[0].targets = arrays.copy<int32_t>(problem.targets, loss_rows(fields), "targets");
  }
}

}  // namespace

infonce_problem without_arrays(infonce_problem fields) {
  for (infonce_matrix &matrix : fields.matrices) {
    matrix.data = matrix.guide = nullptr;
    matrix.ids = matrix.counts = nullptr;
    matrix.bias = nullptr;
  }
  for (infonce_softmax &softmax : fields.softmaxes) {
    softmax.targets = nullptr;
  }
  fields.grad_output.data = nullptr;
  return fields;
}

int64_t anchor_rows(const infonce_problem &fields, int softmax) {
  const int32_t matrix = fields.softmaxes[softmax].anchors;
  if (matrix < 0 || matrix >= fields.matrix_count) {
    throw Failure{INFONCE_INVALID_ARGUMENT, "a softmax of an unknown matrix"};
  }
  return fields.matrices[matrix].rows;
}

int64_t loss_rows(const infonce_problem &fields) { return anchor_rows(fields, 0); }

int64_t matrix_size(const infonce_problem &fields, int matrix) {
  return product(fields.matrices[matrix].rows, fields.dim);
}

Problem read_problem(Napi::Object object) {
  Problem problem;
  infonce_problem &fields = problem.fields;
  fields.struct_size = sizeof(fields);
  const Napi::Value form = object.Get("form"), numbers = object.Get("numbers");
  const Napi::Array arrays = to_array(object.Get("arrays"), "arrays");
  // Before elements of `arrays` are read, which may run JavaScript.
  read_form(form, fields);
  std::array<int32_t, INFONCE_MOST_MATRICES> of_matrices;
  const int32_t flags = read_numbers(numbers, fields, of_matrices);
  read_arrays(arrays, flags, of_matrices, problem);
  return problem;
}

void take_inputs(Problem &problem, Arrays &arrays) {
  infonce_problem &fields = problem.fields;
  for (int m = 0; m < fields.matrix_count; ++m) {
    infonce_matrix &matrix = fields.matrices[m];
    const Place place =
        arrays.matrix(problem.matrices[m].data, matrix.type, {matrix.rows, fields.dim, matrix.row_stride}, m);
    matrix.data = place.data;
    matrix.residence = place.residence;
    matrix.row_stride = place.row_stride;
    if (fields.guide_dim != 0) {
      const Place guide = arrays.matrix(problem.matrices[m].guide, matrix.guide_type,
                                        {matrix.rows, fields.guide_dim, 0}, INFONCE_GUIDE_OF + m);
      matrix.guide = guide.data;
      matrix.guide_residence = guide.residence;
    }
  }
  take_entries(problem, arrays);
  fields.grad_output = take_grad_output(problem.grad_output, arrays);
}

void take_presence(Problem &problem, Arrays &arrays) {
  static constexpr float kThere = 0;
  for (int m = 0; m < problem.fields.matrix_count; ++m) {
    problem.fields.matrices[m].data = &kThere;
    problem.fields.matrices[m].guide = problem.fields.guide_dim == 0 ? nullptr : &kThere;
  }
  take_entries(problem, arrays);
}

infonce_grad_output take_grad_output(Napi::Value value, Arrays &arrays) {
  if (value.IsEmpty() || value.IsUndefined()) {
    return {};
  }
  const Span<float> span = to_span<float>(value, "gradOutput", INFONCE_IN_GRAD_OUTPUT);
  return {arrays.numbers(span), static_cast<int64_t>(span.size), INFONCE_ON_HOST};
}

}  // namespace infonce::node

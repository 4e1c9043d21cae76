#include "test/parts.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>

#include "test/backend.h"

namespace infonce::test {

namespace {

constexpr int kNone = -1;

// Its candidates may come in parts.
bool is_open(const Inputs &whole, const infonce_block &block) {
  const infonce_softmax &softmax = whole.problem.softmaxes[0];
  const bool is_memory =
      softmax.positive <= INFONCE_POSITIVE_SAME_ID && (softmax.positive_matrices & bit_of(block.candidates));
  const bool has_positives = (block.left_out & INFONCE_LEAVE_OUT_SAME_ID_POSITIVE) != 0;
  return block.column_softmax == kNone && !is_memory && !has_positives && block.own == INFONCE_OWN_NONE;
}

// Rows without which the call cannot be opened: up to the last positive.
int64_t fewest_rows(const Inputs &whole, int matrix) {
  if (is_candidate_alone(whole.problem, matrix)) {
    return 0;
  }
  if (whole.targets.size() > 0) {
    return int64_t{*std::max_element(whole.targets.begin(), whole.targets.end())} + 1;
  }
  return row_count(whole.problem);
}

template <class T> Buffer<T> rows_of(const Buffer<T> &all, int64_t first, int64_t rows, int64_t dim) {
  if (all.size() == 0) {
    return {};
  }
  Buffer<T> some(static_cast<size_t>(rows * dim));
  std::copy_n(all.data() + first * dim, some.size(), some.data());
  return some;
}

// Those of a matrix whose further rows may come in parts are opened(fewest, all).
template <class Opened> Split opened_with(const Inputs &whole, Opened &&opened) {
  Split split = all_opened(whole);
  for (int b = 0; b < whole.problem.block_count; ++b) {
    const infonce_block &block = whole.problem.blocks[b];
    if (is_open(whole, block)) {
      int64_t &rows = split.opened[block.candidates];
      rows = opened(fewest_rows(whole, block.candidates), rows);
    }
  }
  return split;
}

std::vector<Slice> random_slices(const Inputs &whole, const Split &split, std::mt19937 &random) {
  std::vector<Slice> slices;
  for (int b = 0; b < whole.problem.block_count; ++b) {
    const int matrix = whole.problem.blocks[b].candidates;
    const int64_t rows = whole.problem.matrices[matrix].rows;
    for (int64_t first = split.opened[matrix]; first < rows;) {
      // Mostly small ones, but few where there are many rows.
      const int64_t least = std::min(rows - first, rows / 8 + 1);
      const int64_t most = std::min(rows - first, rows / 2 + 1);
      const int64_t size = std::uniform_int_distribution<int64_t>(least, most)(random);
      slices.push_back({b, first, size});
      first += size;
    }
  }
  std::shuffle(slices.begin(), slices.end(), random);
  return slices;
}

}  // namespace

Form form_in_parts(bool one_tower) {
  Form form;
  form.positive = one_tower ? INFONCE_POSITIVE_ALL_VIEWS : INFONCE_POSITIVE_TARGET;
  form.views = one_tower ? 2 : 1;
  form.rows = 66;
  form.keys = one_tower ? 0 : 130;
  form.further = {100};
  form.dim = 64;
  form.ids = 40;
  form.bias = true;
  form.reduction = INFONCE_REDUCTION_NONE;
  form.grad_output_count = form.rows;
  return form;
}

Form random_form_with_gradients_in_parts(uint32_t seed) {
  Form form = random_form(seed);
  form.gradient = true;
  form.label_smoothing = 0;  // for candidates that are all there
  form.further.resize(1 + seed % 2, 20);
  form.own = 0;
  return form;
}

Split all_opened(const Inputs &whole) {
  Split split;
  for (int m = 0; m < whole.problem.matrix_count; ++m) {
    split.opened[m] = whole.problem.matrices[m].rows;
  }
  return split;
}

Split in_one_part(const Inputs &whole) {
  Split split = opened_with(whole, [](int64_t fewest, int64_t) { return fewest; });
  for (int b = 0; b < whole.problem.block_count; ++b) {
    const int matrix = whole.problem.blocks[b].candidates;
    const int64_t first = split.opened[matrix];
    const int64_t rest = whole.problem.matrices[matrix].rows - first;
    if (rest > 0) {
      split.parts.push_back({b, first, rest});
    }
  }
  split.gradient_parts = split.parts;
  return split;
}

Split in_random_parts(const Inputs &whole, uint32_t seed) {
  std::mt19937 random(seed);
  Split split = opened_with(whole, [&](int64_t fewest, int64_t rows) {
    return std::uniform_int_distribution<int64_t>(fewest, std::max(fewest, rows / 2))(random);
  });
  split.parts = random_slices(whole, split, random);
  split.gradient_parts = random_slices(whole, split, random);
  return split;
}

Part::Part(const Inputs &whole, const Slice &slice) {
  const infonce_problem &problem = whole.problem;
  const int m = problem.blocks[slice.block].candidates;
  matrix = rows_of(whole.matrices[m], slice.first, slice.rows, problem.dim);
  halves = rows_of(whole.halves[m], slice.first, slice.rows, problem.dim);
  ids = rows_of(whole.ids[m], slice.first, slice.rows, 1);
  bias = rows_of(whole.bias[m], slice.first, slice.rows, 1);
  guide = rows_of(whole.guides[m], slice.first, slice.rows, problem.guide_dim);
  part.struct_size = sizeof(part);
  part.block = slice.block;
  part.candidates = problem.matrices[m];
  part.candidates.rows = slice.rows;
  part.candidates.data = halves.size() > 0 ? static_cast<const void *>(halves.data()) : matrix.data();
  part.candidates.ids = ids.data();
  part.candidates.bias = bias.data();
  part.candidates.guide = guide.data();
}

OpenedCall::OpenedCall(const Context &context, const Inputs &whole, const Split &split)
    : context_(context.handle()), whole_(whole), split_(split) {
  Inputs opened;
  infonce_problem problem = whole.problem;
  for (int m = 0; m < problem.matrix_count; ++m) {
    infonce_matrix &matrix = problem.matrices[m];
    matrix.rows = split.opened[m];
    opened.matrices[m] = rows_of(whole.matrices[m], 0, matrix.rows, problem.dim);
    opened.halves[m] = rows_of(whole.halves[m], 0, matrix.rows, problem.dim);
    opened.ids[m] = rows_of(whole.ids[m], 0, matrix.rows, 1);
    opened.bias[m] = rows_of(whole.bias[m], 0, matrix.rows, 1);
    opened.guides[m] = rows_of(whole.guides[m], 0, matrix.rows, problem.guide_dim);
    const bool is_half = opened.halves[m].size() > 0;
    matrix.data = is_half ? static_cast<const void *>(opened.halves[m].data()) : opened.matrices[m].data();
    matrix.data = matrix.rows > 0 ? matrix.data : nullptr;
    matrix.ids = opened.ids[m].data();
    matrix.bias = opened.bias[m].data();
    matrix.guide = opened.guides[m].data();
  }
  for (int b = 0; b < problem.block_count; ++b) {
    const int m = problem.blocks[b].candidates;
    infonce_softmax &softmax = problem.softmaxes[problem.blocks[b].row_softmax];
    const int64_t further = whole.problem.matrices[m].rows - split.opened[m];
    softmax.further_candidates += softmax.label_smoothing > 0 ? further : 0;
  }
  opened.targets = rows_of(whole.targets, 0, row_count(problem), 1);
  problem.softmaxes[0].targets = opened.targets.data();
  infonce_failure failure = empty_failure();
  const infonce_status status = backend().open(context_, &problem, &saved_, &failure);
  REQUIRE_MESSAGE(status == INFONCE_OK, failure.message);
  REQUIRE(saved_ != nullptr);
}

OpenedCall::~OpenedCall() { backend().saved_destroy(context_, saved_); }

infonce_status OpenedCall::add(const infonce_part &part, infonce_failure &failure) const {
  return backend().add(context_, saved_, &part, &failure);
}

void OpenedCall::add_parts() const {
  for (const Slice &slice : split_.parts) {
    const Part part(whole_, slice);
    infonce_failure failure = empty_failure();
    REQUIRE_MESSAGE(add(part.part, failure) == INFONCE_OK, failure.message);
  }
}

void OpenedCall::close(Output &output) const {
  infonce_failure failure = empty_failure();
  REQUIRE_MESSAGE(backend().close(context_, saved_, &output.result, &failure) == INFONCE_OK, failure.message);
}

void OpenedCall::gradients(Output &output, const AddGradient &add) const {
  infonce_upstream upstream{};
  upstream.struct_size = sizeof(upstream);
  upstream.grad_output = whole_.problem.grad_output;
  infonce_failure failure = empty_failure();
  infonce_status status = backend().open_gradient(context_, saved_, &upstream, &failure);
  REQUIRE_MESSAGE(status == INFONCE_OK, failure.message);
  for (const Slice &slice : split_.gradient_parts) {
    Part part(whole_, slice);
    const Buffer<float> &all = output.gradients[whole_.problem.blocks[slice.block].candidates];
    const Buffer<float> gradient(all.size() > 0 ? static_cast<size_t>(slice.rows * whole_.problem.dim) : 0);
    add(part, gradient);
    std::copy(gradient.begin(), gradient.end(), all.data() + slice.first * whole_.problem.dim);
  }
  status = backend().close_gradient(context_, saved_, &output.result, &failure);
  REQUIRE_MESSAGE(status == INFONCE_OK, failure.message);
}

void OpenedCall::gradients(Output &output) const {
  gradients(output, [&](Part &part, const Buffer<float> &gradient) {
    const infonce_output result = {gradient.size() > 0 ? gradient.data() : nullptr, INFONCE_ON_HOST};
    infonce_failure failure = empty_failure();
    const infonce_status status = backend().add_gradient(context_, saved_, &part.part, &result, &failure);
    REQUIRE_MESSAGE(status == INFONCE_OK, failure.message);
  });
}

Output run_in_parts(const Context &context, const Inputs &whole, const Split &split) {
  Output output(whole);
  output.want_rows(whole);
  const OpenedCall call(context, whole, split);
  call.add_parts();
  call.close(output);
  if (whole.problem.gradient) {
    call.gradients(output);
  }
  return output;
}

}  // namespace infonce::test

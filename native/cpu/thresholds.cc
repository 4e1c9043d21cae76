#include "cpu/thresholds.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace infonce::cpu {
namespace {

// Guides are scaled to unit length, whatever is done with the rows.
Request request_of_guides(const Request &request) {
  Request of_guides = request;
  infonce_problem &problem = of_guides.problem;
  problem.normalize = 1;
  problem.dim = std::max<int64_t>(1, problem.guide_dim);
  for (infonce_matrix &matrix : problem.matrices) matrix = guide_of(matrix);
  return of_guides;
}

}  // namespace

template <class Scalar>
Thresholds<Scalar>::Thresholds(const Request &request, const Layout &layout, const Kernels &kernels, const Pairs &pairs,
                               Operands<Scalar> &operands, ThreadPool &pool)
    : request_(request),
      of_guides_(request_of_guides(request)),
      layout_(layout),
      pairs_(pairs),
      all_kernels_(kernels),
      kernels_(scalar_kernels<Scalar>(kernels)),
      pool_(pool),
      block_(*threshold_of(request.problem)),
      is_exact_(sizeof(Scalar) == sizeof(float) && !kernels.bfloat16),
      operands_(operands),
      guides_(of_guides_, layout, kernels, pool),
      scratch_(pool.threads()) {
  const infonce_problem &problem = by_guide() ? of_guides_.problem : request.problem;
  for (int k = 0; is_exact_ && k < layout_.count(); ++k) {
    const infonce_matrix &matrix = problem.matrices[layout_.matrix(k)];
    if (!by_guide() || matrix.data)
      exact_[layout_.matrix(k)] = {Input(matrix, problem.dim, kernels), matrix.rows, nullptr};
  }
  for (int thread = 0; is_exact_ && thread < pool.threads(); ++thread)
    for (int m = 0; m < kColumns; ++m) asked_.push_back({this, m, thread});
}

template <class Scalar> void Thresholds<Scalar>::take_kept(Workspace::Cursor &cursor, bool bfloat16) {
  if (by_guide()) guides_.take_kept(cursor, bfloat16);
  const int64_t rows = layout_.padded_rows(layout_.anchors());
  bounds_.most = cursor.take<Scalar>(rows);
  if (!is_exact_) return;
  bounds_.near = cursor.take<Scalar>(rows);
  exact_most_ = cursor.take<double>(rows);
  for (Exact &exact : exact_)
    exact.copy = request_.in_halves ? cursor.take<std::byte>(exact.rows * exact.input.row_bytes()) : nullptr;
}

template <class Scalar>
void Thresholds<Scalar>::take_scratch(Workspace::Cursor &cursor, bool bfloat16, const infonce_part *part) {
  if (part) guide_of_part_.candidates = guide_of(part->candidates);
  if (by_guide()) guides_.take_scratch(cursor, bfloat16, part ? &guide_of_part_ : nullptr);
  const int64_t rows = part && is_exact_ ? layout_.padded_rows(layout_.anchors()) : 0;
  of_part_ = {cursor.take<Scalar>(rows), cursor.take<Scalar>(rows)};
  const int64_t dim = by_guide() ? of_guides_.problem.dim : request_.problem.dim;
  for (float *&rows : scratch_) rows = is_exact_ ? cursor.take<float>(2 * dim) : nullptr;
}

template <class Scalar> BadRow Thresholds<Scalar>::prepare() {
  if (by_guide()) {
    const BadRow bad = guides_.prepare();
    if (bad.row >= 0) return {INFONCE_GUIDE_OF + bad.matrix, bad.row};
  }
  if (is_exact_ && request_.in_halves) keep_rows();
  const int64_t rows = layout_.padded_rows(layout_.anchors());
  pool_.parallel(blocks_of(rows, kPassRows), [&](int64_t t, int thread) {
    find(t * kPassRows, std::min(kPassRows, rows - t * kPassRows), thread);
  });
  return {};
}

template <class Scalar> BadRow Thresholds<Scalar>::prepare_part(const infonce_part &part, int matrix) {
  if (by_guide()) {
    const BadRow bad = guides_.prepare_part(guide_of_part_, INFONCE_GUIDE_OF + matrix);
    if (bad.row >= 0) return bad;
  }
  if (!is_exact_) return {};
  const infonce_matrix &rows_of_part = by_guide() ? guide_of_part_.candidates : part.candidates;
  const int64_t dim = by_guide() ? of_guides_.problem.dim : request_.problem.dim;
  exact_[kPart] = {Input(rows_of_part, dim, all_kernels_), rows_of_part.rows, nullptr};
  const double longest = compared().largest_norm(kPart);
  const int64_t rows = layout_.padded_rows(layout_.anchors());
  pool_.parallel(blocks_of(rows, kPassRows), [&](int64_t t, int thread) {
    for (int64_t i = t * kPassRows; i < std::min((t + 1) * kPassRows, rows); ++i)
      set_bounds(i, longest, thread, of_part_);
  });
  return {};
}

template <class Scalar> void Thresholds<Scalar>::keep_rows() {
  for (Exact &exact : exact_) {
    pool_.parallel(blocks_of(exact.rows, kPassRows), [&](int64_t t, int) {
      const int64_t first = t * kPassRows;
      exact.input.copy_rows(first, std::min(kPassRows, exact.rows - first), exact.copy);
    });
    exact.input.move_to(exact.copy);
  }
}

// In one order of additions, so that equal rows have equal dot products.
template <class Scalar> double Thresholds<Scalar>::exact_dot(int64_t i, int matrix, int64_t j, int thread) {
  const int64_t dim = by_guide() ? of_guides_.problem.dim : request_.problem.dim;
  const int anchors = layout_.anchors();
  const float *a = exact_[anchors].input.rows(i, 1, scratch_[thread]);
  const float *b = exact_[matrix].input.rows(j, 1, scratch_[thread] + dim);
  return all_kernels_.row_dot(a, b, dim) * compared().at(anchors, thread).inverse_norm[i] *
         compared().at(matrix, thread).inverse_norm[j];
}

template <class Scalar> bool Thresholds<Scalar>::is_above(void *asked, int64_t row, int64_t column) {
  const auto [thresholds, matrix, thread] = *static_cast<const Asked *>(asked);
  return thresholds->exact_dot(row, matrix, column, thread) > thresholds->exact_most_[row];
}

template <class Scalar>
void Thresholds<Scalar>::set_bounds(int64_t i, double longest, int thread, const Bounds &bounds) {
  constexpr Scalar kMost = std::numeric_limits<Scalar>::max();
  const double most = exact_most_[i];
  if (std::isinf(most)) {
    bounds.most[i] = bounds.near[i] = kMost;
    return;
  }
  // What the rounding of unit rows and of each addition can make of a dot product.
  const Operand<Scalar> &rows = compared().at(layout_.anchors(), thread);
  const double length = std::sqrt(kernels_.dot(rows, i, rows, i));
  const double error = (double(rows.dim) + 8) * 0x1p-24 * length * longest + 1e-37;
  const auto outwards = [&](double bound, Scalar limit) {
    return std::nextafter(Scalar(std::clamp(bound, -double(kMost), double(kMost))), limit);
  };
  bounds.most[i] = std::min(outwards(most + error, kMost), kMost);
  bounds.near[i] = outwards(most - error, -kMost);
}

// Of anchors first ... first + count.
template <class Scalar> void Thresholds<Scalar>::find(int64_t first, int64_t count, int thread) {
  constexpr Scalar kMost = std::numeric_limits<Scalar>::max();
  const int anchors = layout_.anchors(), positives = layout_.elsewhere();
  const Operand<Scalar> &rows = compared().at(anchors, thread);
  int64_t positive[kPassRows];
  Scalar dots[kPassRows];
  for (int64_t r = 0; r < count; ++r) {
    const int64_t j = pairs_.first_positives()[first + r];
    positive[r] = j < 0 ? -1 : layout_.place_of(j).row;
  }
  if (!is_exact_) kernels_.ranking_dots(rows, first, int(count), compared().at(positives, thread), positive, dots);
  double longest = 0;
  for (int k = 1; k < layout_.count(); ++k) longest = std::max(longest, compared().largest_norm(layout_.matrix(k)));
  for (int64_t r = 0; r < count; ++r) {
    const int64_t i = first + r;
    if (positive[r] < 0) {
      bounds_.most[i] = kMost;
      if (is_exact_) bounds_.near[i] = kMost, exact_most_[i] = std::numeric_limits<double>::infinity();
      continue;
    }
    const double cosine = is_exact_ ? exact_dot(i, positives, positive[r], thread) : double(dots[r]);
    const double margin = block_.threshold_margin;
    const double most = cosine - (block_.threshold == INFONCE_THRESHOLD_RELATIVE ? std::fabs(cosine) * margin : margin);
    bounds_.most[i] = Scalar(std::clamp(most, -double(kMost), double(kMost)));
    if (!is_exact_) continue;
    exact_most_[i] = most;
    set_bounds(i, longest, thread, bounds_);
  }
}

template class Thresholds<float>;
template class Thresholds<double>;

}  // namespace infonce::cpu

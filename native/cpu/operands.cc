#include "cpu/operands.h"

#include <algorithm>

namespace infonce::cpu {

template <class Scalar>
Operands<Scalar>::Operands(const Request &request, const Layout &layout, const Kernels &kernels, ThreadPool &pool)
    : problem_(request.problem),
      layout_(layout),
      all_kernels_(kernels),
      kernels_(scalar_kernels<Scalar>(kernels)),
      pool_(pool),
      scratch_(pool.threads()) {
  is_ready_.resize(small() && !request.in_halves ? pool.active_threads() : 1);
  operands_.resize(is_ready_.size() * problem_.matrix_count);
}

template <class Scalar>
void Operands<Scalar>::take(Workspace::Cursor &cursor, int64_t padded_rows, bool bfloat16, Operand<Scalar> *operand) {
  operand->dim = problem_.dim;
  operand->padded_rows = padded_rows;
  operand->padded_dim = padded_dim();
  const int64_t size = operand->padded_rows * operand->padded_dim;
  operand->row_panels = cursor.take<Scalar>(size);
  if (bfloat16) {
    operand->row_pairs = cursor.take<uint32_t>(size / 2);
    operand->depth_pairs = cursor.take<uint32_t>(size / 2);
  } else {
    operand->depth_panels = cursor.take<Scalar>(size);
  }
  operand->inverse_norm = cursor.take<double>(operand->padded_rows);
  operand->radial = cursor.take<float>(operand->padded_rows);
}

template <class Scalar> void Operands<Scalar>::take_kept(Workspace::Cursor &cursor, bool bfloat16) {
  for (int copy = 0; copy < copies(); ++copy) {
    is_ready_[copy] = false;
    for (int k = 0; k < layout_.count(); ++k) {
      const int matrix = layout_.matrix(k);
      take(cursor, layout_.padded_rows(matrix), bfloat16, &operand(copy, matrix));
    }
  }
}

template <class Scalar>
void Operands<Scalar>::take_scratch(Workspace::Cursor &cursor, bool bfloat16, const infonce_part *part) {
  if (part) take(cursor, round_up(part->candidates.rows, kRowMultiple), bfloat16, &part_);
  bool has_halves = part && part->candidates.type != INFONCE_FLOAT32;
  for (int m = 0; m < problem_.matrix_count; ++m) has_halves |= problem_.matrices[m].type != INFONCE_FLOAT32;
  for (int t = 0; t < pool_.active_threads(); ++t)
    scratch_[t] = has_halves ? cursor.take<float>(kPassRows * problem_.dim) : nullptr;
}

template <class Scalar>
PreparedRows Operands<Scalar>::prepare_rows(const Input &input, int64_t rows, int64_t first, Operand<Scalar> *operand,
                                            int thread) {
  const int64_t count = std::min(kPassRows, operand->padded_rows - first);
  const int64_t given = std::min(count, std::max<int64_t>(0, rows - first));
  return kernels_.prepare(input.rows(first, given, scratch_[thread]), input.step(), given, problem_.normalize != 0,
                          operand, first, count);
}

template <class Scalar> void Operands<Scalar>::note(int name, const PreparedRows &prepared, double *norm, BadRow *bad) {
  if (bad->row < 0 && prepared.first_bad_row >= 0) *bad = {name, prepared.first_bad_row};
  *norm = std::max(*norm, prepared.largest_norm);
}

template <class Scalar> void Operands<Scalar>::prepare_copy(int copy, int thread) {
  for (int k = 0; k < layout_.count(); ++k) {
    const int matrix = layout_.matrix(k);
    const Input input(problem_.matrices[matrix], problem_.dim, all_kernels_);
    Operand<Scalar> &rows = operand(copy, matrix);
    for (int64_t first = 0; first < rows.padded_rows; first += kPassRows) {
      const PreparedRows prepared = prepare_rows(input, layout_.rows(matrix), first, &rows, thread);
      if (copy == 0) note(matrix, prepared, &norm_[matrix], &bad_);  // the others say the same
    }
  }
  is_ready_[copy] = true;
}

template <class Scalar>
BadRow Operands<Scalar>::prepare_shared(const infonce_matrix &matrix, int name, Operand<Scalar> *operand,
                                        double *norm) {
  const Input input(matrix, problem_.dim, all_kernels_);
  const int64_t tasks = blocks_of(operand->padded_rows, kPassRows);
  prepared_.resize(tasks);
  pool_.parallel(tasks, [&](int64_t t, int thread) {
    prepared_[t] = prepare_rows(input, matrix.rows, t * kPassRows, operand, thread);
  });
  BadRow bad;
  for (const PreparedRows &prepared : prepared_) note(name, prepared, norm, &bad);
  return bad;
}

template <class Scalar> BadRow Operands<Scalar>::prepare() {
  if (small()) {
    // Workers that are awake prepare theirs meanwhile; one that comes late does so with its first task.
    pool_.parallel(copies(), [&](int64_t, int thread) { at(layout_.anchors(), thread); });
    at(layout_.anchors(), 0);
    return bad_;
  }
  for (int k = 0; k < layout_.count(); ++k) {
    const int matrix = layout_.matrix(k);
    const BadRow bad = prepare_shared(problem_.matrices[matrix], matrix, &operand(0, matrix), &norm_[matrix]);
    if (bad_.row < 0) bad_ = bad;
  }
  is_ready_[0] = true;
  return bad_;
}

template <class Scalar> BadRow Operands<Scalar>::prepare_part(const infonce_part &part, int matrix) {
  norm_[kPart] = 0;
  return prepare_shared(part.candidates, matrix, &part_, &norm_[kPart]);
}

template class Operands<float>;
template class Operands<double>;

}  // namespace infonce::cpu

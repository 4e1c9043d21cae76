#include "cpu/passes.h"

namespace infonce::cpu {

Upstream upstream_of(const infonce_problem &problem) {
  Upstream upstream;
  double base = problem.reduction == INFONCE_REDUCTION_MEAN ? 1.0 / double(problem.rows) : 1.0;
  if (problem.both_directions) base /= 2;
  if (problem.grad_output_count == 1) {
    upstream.sign_of_all = problem.grad_output[0] < 0 ? -1 : 1;
    base *= std::fabs(problem.grad_output[0]);
  } else if (problem.grad_output_count > 1) {
    upstream.rows = problem.grad_output;
    upstream.largest_row = 0;
    for (int64_t i = 0; i < problem.rows; ++i)
      upstream.largest_row = std::max(upstream.largest_row, double(std::fabs(problem.grad_output[i])));
    base *= upstream.largest_row;
  }
  upstream.largest = base;
  return upstream;
}

template <class Scalar>
void Passes<Scalar>::take_operand(Workspace::Cursor &cursor, Operand<Scalar> &operand, int64_t row_count, bool bfloat16) {
  operand.rows = row_count;
  operand.dim = problem_.dim;
  operand.padded_rows = round_up(row_count, kRowMultiple);
  operand.padded_dim = round_up(problem_.dim, kernels_.panel);
  const int64_t size = operand.padded_rows * operand.padded_dim;
  operand.row_panels = cursor.take<Scalar>(size);
  if (bfloat16) {
    operand.row_pairs = cursor.take<uint32_t>(size / 2);
    operand.depth_pairs = cursor.take<uint32_t>(size / 2);
  } else {
    operand.depth_panels = cursor.take<Scalar>(size);
  }
  operand.inverse_norm = cursor.take<double>(operand.padded_rows);
  operand.radial = cursor.take<float>(operand.padded_rows);
}

template <class Scalar> void Passes<Scalar>::take(Workspace::Cursor &cursor, bool bfloat16) {
  take_operand(cursor, anchors, problem_.rows, bfloat16);
  if (problem_.keys) take_operand(cursor, keys, problem_.rows, bfloat16);
  if (problem_.negatives) take_operand(cursor, negatives, problem_.negative_rows, bfloat16);
  rows.take(cursor, anchors.padded_rows);
  rows.owner = &anchors;
  rows.positives = one_tower() ? &anchors : &keys;
  if (problem_.both_directions) {
    columns.take(cursor, keys.padded_rows);
    columns.owner = &keys;
    columns.positives = &anchors;
  }
  if (pairs_.has_large_classes()) class_sums_ = cursor.take<double>(pairs_.large_class_count() * 2 * problem_.dim);
}

template <class Scalar>
void Passes<Scalar>::prepare_operand(Operand<Scalar> &operand, const float *source, int input, BadRow *bad, double *norm) {
  const int64_t tasks = blocks_of(operand.padded_rows, kPassRows);
  prepared_.resize(tasks);
  pool_.parallel(tasks, [&](int64_t t, int) {
    const int64_t first = t * kPassRows, count = std::min(kPassRows, operand.padded_rows - first);
    prepared_[t] = kernels_.prepare(source, problem_.normalize != 0, &operand, first, int(count));
  });
  *norm = 0;
  for (const PreparedRows &block : prepared_) {
    if (bad->row < 0 && block.first_bad_row >= 0) *bad = {input, block.first_bad_row};
    *norm = std::max(*norm, block.largest_norm);
  }
}

template <class Scalar> BadRow Passes<Scalar>::prepare() {
  BadRow bad;
  prepare_operand(anchors, problem_.anchors, INFONCE_INPUT_ANCHORS, &bad, &norm_[0]);
  if (problem_.keys) prepare_operand(keys, problem_.keys, INFONCE_INPUT_KEYS, &bad, &norm_[1]);
  if (problem_.negatives) {
    prepare_operand(negatives, problem_.negatives, INFONCE_INPUT_NEGATIVES, &bad, &norm_[2]);
    norm_[1] = std::max(norm_[1], norm_[2]);
  }
  return bad;
}

template <class Scalar> void Passes<Scalar>::rank() {
  pool_.parallel(blocks_of(anchors.padded_rows, kPassRows), [&](int64_t t, int) {
    const int64_t first = t * kPassRows, count = std::min(kPassRows, anchors.padded_rows - first);
    kernels_.ranking_dots(anchors, first, int(count), *rows.positives, pairs_.first_positives() + first,
                          rows.rank + first);
    for (int64_t i = first; i < first + count; ++i) {
      if (pairs_.first_positives()[i] < 0) rows.rank[i] = std::numeric_limits<Scalar>::infinity();
      rows.above[i] = 0;
      // The dot product of a pair is the same from both sides.
      if (columns.rank) columns.rank[i] = rows.rank[i], columns.above[i] = 0;
    }
    if (pairs_.largest_partner_count() < 2) return;
    // Partners slot by slot: each anchor's next partner, all anchors of the block at once.
    std::vector<int64_t> partner(count);
    std::vector<Scalar> dots(count);
    for (int64_t slot = 0; slot < pairs_.largest_partner_count(); ++slot) {
      for (int64_t r = 0; r < count; ++r) {
        partner[r] = -1;
        int64_t k = 0;
        if (first + r < anchors.rows)
          pairs_.for_each_partner(first + r, [&](int64_t j, bool) { partner[r] = k++ == slot ? j : partner[r]; });
      }
      kernels_.ranking_dots(anchors, first, int(count), anchors, partner.data(), dots.data());
      for (int64_t r = 0; r < count; ++r) rows.above[first + r] += partner[r] >= 0 && dots[r] > rows.rank[first + r];
    }
  });
}

template <class Scalar> void Passes<Scalar>::sum_large_classes() {
  const int64_t dim = problem_.dim, panel = kernels_.panel;
  pool_.parallel(pairs_.large_class_count(), [&](int64_t c, int) {
    double *plain = class_sums_ + c * 2 * dim, *weighted = plain + dim;
    std::fill(plain, plain + 2 * dim, 0.0);
    pairs_.for_each_member(c, [&](int64_t i) {
      const double g = upstream_.relative(i);
      for (int64_t d = 0; d < dim; ++d) {
        const double u = anchors.row_panels[(d / panel * anchors.padded_rows + i) * panel + d % panel];
        plain[d] += u;
        weighted[d] += g * u;
      }
    });
  });
}

template <class Scalar> double Passes<Scalar>::logit(int64_t i, int64_t j) const {
  return problem_.scale * kernels_.dot(anchors, i, *rows.positives, j);
}

template <class Scalar>
void Passes<Scalar>::losses_of(Direction<Scalar> &direction, int64_t first, int64_t count) const {
  const bool transposed = &direction == &columns;
  const int64_t dim = problem_.dim, panel = kernels_.panel;
  for (int64_t i = first; i < first + count; ++i) {
    const int64_t positive_count = i < direction.owner->rows ? pairs_.positive_count(i) : 0;
    if (positive_count == 0) {
      direction.loss[i] = direction.rest_share[i] = 0;
      direction.weight[i] = 0;
      direction.log_sum_exp[i] = 0;
      continue;
    }
    RowLoss row(direction.sum[i], direction.offset[i]);
    const int64_t large_class = pairs_.large_class(i);
    if (large_class >= 0) {
      // <u_i, sum of the others of the class> from the sum of all.
      const double *sum = class_sums_ + large_class * 2 * dim;
      double along = -kernels_.dot(anchors, i, anchors, i);
      for (int64_t d = 0; d < dim; ++d)
        along += sum[d] * anchors.row_panels[(d / panel * anchors.padded_rows + i) * panel + d % panel];
      direction.loss[i] = row.log_sum_exp() - problem_.scale * along / double(positive_count);
    } else if (positive_count == 1) {
      double positive = 0;
      pairs_.for_each_partner(i, [&](int64_t j, bool is_positive) {
        const double s = transposed ? logit(j, i) : logit(i, j);
        if (is_positive) positive = s;
        else row.add(s);
      });
      row.add_only_positive(positive);
      direction.loss[i] = row.loss_of_only_positive();
      direction.rest_share[i] = row.rest_share();
    } else {
      double total = 0;
      pairs_.for_each_partner(i, [&](int64_t j, bool) {
        const double s = logit(i, j);
        row.add(s);
        total += s;
      });
      direction.loss[i] = row.log_sum_exp() - total / double(positive_count);
    }
    const double g = upstream_.relative(i);
    const bool panel_scheme = sizeof(Scalar) == sizeof(float);
    direction.weight[i] = Scalar(panel_scheme ? g * row.matrix_weight() : g);
    const bool lse_is_read = !panel_scheme || pairs_.largest_partner_count() > 1;
    direction.log_sum_exp[i] = lse_is_read ? row.log_sum_exp() : 0;
  }
}

template <class Scalar> void Passes<Scalar>::losses() {
  pool_.parallel(blocks_of(anchors.padded_rows, kPassRows), [&](int64_t t, int) {
    losses(t * kPassRows, std::min(kPassRows, anchors.padded_rows - t * kPassRows));
  });
}

template <class Scalar> void Passes<Scalar>::losses(int64_t first, int64_t count) {
  losses_of(rows, first, count);
  if (columns.owner) losses_of(columns, first, count);
}

template <class Scalar> void Passes<Scalar>::write_losses(infonce_result *result) const {
  double total = 0, top1 = 0, top5 = 0;
  const int directions = columns.owner ? 2 : 1;
  for (int64_t i = 0; i < problem_.rows; ++i) {
    double loss = rows.loss[i];
    if (columns.owner) loss = (loss + columns.loss[i]) / 2;
    total += loss;
    if (problem_.reduction == INFONCE_REDUCTION_NONE) result->row_loss[i] = float(loss);
    if (pairs_.first_positives()[i] < 0) continue;
    for (int d = 0; d < directions; ++d) {
      const double above = d == 0 ? rows.above[i] : columns.above[i];
      top1 += above < 1;
      top5 += above < 5;
    }
  }
  const double count = double(problem_.rows);
  result->loss = problem_.reduction == INFONCE_REDUCTION_MEAN ? total / count : total;
  result->top1 = top1 / (count * directions);
  result->top5 = top5 / (count * directions);
}

// d (loss of row i) / d (logit of one of its pairs) outside the matrix, times row i's upstream gradient.
template <class Scalar>
double Passes<Scalar>::pair_weight(int64_t i, bool is_positive, double logit) const {
  const double g = upstream_.relative(i);
  const int64_t positive_count = pairs_.positive_count(i);
  if (positive_count == 0) return 0;
  if (is_positive && positive_count == 1) return -g * rows.rest_share[i];
  const double p = std::exp(logit - rows.log_sum_exp[i]);
  return g * (p - (is_positive ? 1.0 / double(positive_count) : 0.0));
}

template <class Scalar>
void Passes<Scalar>::add_pairs(const Operand<Scalar> &tower, int64_t i, Scalar *accumulators,
                               int64_t accumulator_rows) const {
  if (!one_tower()) {
    if (&tower == &negatives) return;
    double weight = upstream_.relative(i) * rows.rest_share[i];
    if (columns.owner) weight += upstream_.relative(i) * columns.rest_share[i];
    kernels_.add_row(accumulators, accumulator_rows, -weight, &tower == &anchors ? keys : anchors, i);
    return;
  }
  const int64_t large_class = pairs_.large_class(i);
  if (large_class >= 0) {
    const double *plain = class_sums_ + large_class * 2 * problem_.dim, *weighted = plain + problem_.dim;
    const double g = upstream_.relative(i), each = 1.0 / double(pairs_.positive_count(i));
    kernels_.add_vector(accumulators, accumulator_rows, -g * each, plain, problem_.dim);
    kernels_.add_vector(accumulators, accumulator_rows, -each, weighted, problem_.dim);
    kernels_.add_row(accumulators, accumulator_rows, 2 * g * each, anchors, i);
    return;
  }
  pairs_.for_each_partner(i, [&](int64_t j, bool is_positive) {
    const bool is_positive_of_partner = pairs_.first_positives()[j] == i || pairs_.positive_count(j) > 1;
    const bool logit_is_read = pairs_.largest_partner_count() > 1;
    const double s = logit_is_read ? logit(i, j) : 0;
    const double weight = pair_weight(i, is_positive, s) + pair_weight(j, is_positive_of_partner, s);
    kernels_.add_row(accumulators, accumulator_rows, weight, anchors, j);
  });
}

template <class Scalar>
double Passes<Scalar>::finish(const Operand<Scalar> &tower, int64_t first, int64_t count, Scalar *accumulators,
                              int64_t accumulator_rows, float *gradient) const {
  for (int64_t r = 0; r < count; ++r)
    add_pairs(tower, first + r, accumulators + r * kernels_.panel, accumulator_rows);
  return kernels_.finish({&tower, first, int(count), accumulators, accumulator_rows,
                          problem_.scale * upstream_.largest, gradient});
}

template class Passes<float>;
template class Passes<double>;

}  // namespace infonce::cpu

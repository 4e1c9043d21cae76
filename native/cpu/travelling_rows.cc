// Rows that have a loss elsewhere and meet the anchors as columns of a part: their sums go on from where they came from,
// and their weights are those of their own softmax.
#include "cpu/passes.h"

namespace infonce::cpu {
namespace {

// log (e^a + e^b)
double log_of_both(double a, double b) {
  const double larger = std::max(a, b), smaller = std::min(a, b);
  return std::isinf(smaller) ? larger : larger + std::log1p(std::exp(smaller - larger));
}

}  // namespace

template <class Scalar> void Passes<Scalar>::Met::add(int64_t number, double logits, double log_sum_exp) {
  count += number;
  sum += logits;
  log_sum = log_of_both(log_sum, log_sum_exp);
}

// visit(row of the other side) for each of equal id, in ascending order: to an anchor those of the part, or the other way
// round.
template <class Scalar>
template <class Visit>
void Passes<Scalar>::for_each_met(bool of_anchors, int64_t row, Visit &&visit) const {
  const auto is_met = [&](int64_t i) { return part_->block.rows.groups[i] >= 0; };
  if (of_anchors && !is_met(row)) return;
  const std::vector<RowOfId> &others = of_anchors ? part_->by_id : anchors_by_id_;
  const int32_t id = of_anchors ? meeting_ids_[row] : part_->ids[row];
  for (auto k = std::lower_bound(others.begin(), others.end(), RowOfId(id, 0)); k != others.end() && k->first == id;
       ++k)
    if (of_anchors || is_met(k->second)) visit(int64_t(k->second));
}

template <class Scalar> double Passes<Scalar>::met_logit(int64_t i, int64_t j, int thread) {
  return problem_.scale * kernels_.dot(operand(layout_.anchors(), thread), i, operand(kPart, thread), j);
}

template <class Scalar> void Passes<Scalar>::meet_positives() {
  if (!part_has_positives()) return;
  const infonce_travelling_rows &given = part_->given->columns;
  const int64_t rows_of_part = part_->block.columns.rows;
  pool_.parallel(blocks_of(rows(), kPassRows), [&](int64_t t, int thread) {
    for (int64_t i = t * kPassRows; i < std::min((t + 1) * kPassRows, rows()); ++i)
      for_each_met(true, i, [&](int64_t j) {
        const double s = met_logit(i, j, thread);
        met_[i].add(1, s, s);
      });
  });
  pool_.parallel(blocks_of(rows_of_part, kPassRows), [&](int64_t t, int thread) {
    for (int64_t j = t * kPassRows; j < std::min((t + 1) * kPassRows, rows_of_part); ++j) {
      Met met;
      for_each_met(false, j, [&](int64_t i) {
        const double s = met_logit(i, j, thread);
        met.add(1, s, s);
      });
      given.positives[j] += int32_t(met.count);
      given.positive_sum[j] += met.sum;
      given.positive_log_sum[j] = log_of_both(given.positive_log_sum[j], met.log_sum);
    }
  });
}

template <class Scalar>
void Passes<Scalar>::add_met_positives(bool of_anchors, int64_t first, int64_t count, Scalar *accumulators,
                                       int64_t accumulator_rows, int thread) {
  using CrossEntropy = RowLoss<INFONCE_ROW_LOSS_CROSS_ENTROPY>;
  const infonce_travelling_rows &given = part_->given->columns;
  const SoftmaxRows<Scalar> &softmax = softmaxes[0];
  const Operand<Scalar> &others = operand(of_anchors ? kPart : layout_.anchors(), thread);
  const int64_t end = std::min(first + count, of_anchors ? rows() : part_->block.columns.rows);
  for (int64_t row = first; row < end; ++row)
    for_each_met(of_anchors, row, [&](int64_t other) {
      const int64_t i = of_anchors ? row : other, j = of_anchors ? other : row;
      const double s = met_logit(i, j, thread);
      double weight = upstream_.relative(i) * CrossEntropy::pair_weight(true, positive_count(i), s,
                                                                        softmax.log_sum_exp[i], softmax.rest_share[i]);
      if (given.all_positives[j] > 0)
        weight += given.weight[j] / upstream_.largest *
                  CrossEntropy::pair_weight(true, given.all_positives[j], s, given.log_sum_exp[j], given.rest_share[j]);
      kernels_.add_row(accumulators + (row - first) * kernels_.panel, accumulator_rows, weight, others, other);
    });
}

template <class Scalar> void Passes<Scalar>::begin_column_sums(double offset) {
  if (!part_->block.columns.softmax) return;
  const infonce_travelling_rows &given = part_->given->columns;
  Columns &columns = part_->columns;
  SoftmaxRows<Scalar> &softmax = part_->softmax;
  const int64_t rows = part_->block.columns.rows, padded_rows = part_->block.columns.padded_rows;
  columns.sum.assign(padded_rows, 0);
  columns.offset.assign(padded_rows, offset);
  softmax.sum = columns.sum.data();
  softmax.offset = columns.offset.data();
  if (!problem_.ranks) return;
  columns.above.assign(padded_rows, 0);
  columns.rank.assign(padded_rows, std::numeric_limits<Scalar>::infinity());
  for (int64_t j = 0; j < rows; ++j) columns.rank[j] = Scalar(given.rank[j]);
  softmax.above = columns.above.data();
  softmax.rank = columns.rank.data();
}

template <class Scalar> void Passes<Scalar>::end_column_sums() {
  if (!part_->block.columns.softmax) return;
  const infonce_travelling_rows &given = part_->given->columns;
  const Columns &columns = part_->columns;
  for (int64_t j = 0; j < part_->block.columns.rows; ++j) {
    if (columns.sum[j] > 0)
      given.log_sum[j] = log_of_both(given.log_sum[j], columns.offset[j] + std::log(columns.sum[j]));
    if (problem_.ranks) given.above[j] += int32_t(columns.above[j]);
  }
}

// By size alone they may differ from what upstream gradients are relative to here.
template <class Scalar> void Passes<Scalar>::weigh_columns(double shift) {
  if (!part_->block.columns.softmax) return;
  constexpr bool kStoresExponentials = sizeof(Scalar) == sizeof(float);
  const infonce_travelling_rows &given = part_->given->columns;
  Columns &columns = part_->columns;
  const int64_t padded_rows = part_->block.columns.padded_rows;
  columns.weight.assign(padded_rows, 0);
  columns.log_sum_exp.assign(padded_rows, std::numeric_limits<double>::infinity());
  for (int64_t j = 0; j < part_->block.columns.rows; ++j) {
    const double weight = given.weight[j] / upstream_.largest, log_sum_exp = given.log_sum_exp[j];
    columns.weight[j] = Scalar(kStoresExponentials ? weight * std::exp(shift - log_sum_exp) : weight);
    columns.log_sum_exp[j] = log_sum_exp;
  }
  part_->softmax.weight = columns.weight.data();
  part_->softmax.log_sum_exp = columns.log_sum_exp.data();
}

template <class Scalar> void Passes<Scalar>::read_rows(int index, const infonce_travelling_rows &to) const {
  const SoftmaxRows<Scalar> &softmax = softmaxes[index];
  for (int64_t i = 0; i < rows(); ++i) {
    if (to.rank) to.rank[i] = softmax.rank[i];
    if (to.log_sum_exp) to.log_sum_exp[i] = softmax.log_sum_exp[i];
    if (to.weight) to.weight[i] = positive_count(i) > 0 ? upstream_.relative(i) * upstream_.largest : 0;
    if (to.all_positives) to.all_positives[i] = int32_t(positive_count(i));
    if (to.rest_share) to.rest_share[i] = softmax.rest_share[i];
  }
}

template <class Scalar> void Passes<Scalar>::join_rows(int index, const infonce_travelling_rows &from) {
  SoftmaxRows<Scalar> &softmax = softmaxes[index];
  for (int64_t i = 0; i < rows(); ++i) {
    const double log_sum = from.log_sum[i];
    if (problem_.ranks) softmax.above[i] += from.above[i];
    if (!met_.empty()) met_[i].add(from.positives[i], from.positive_sum[i], from.positive_log_sum[i]);
    // The panel scheme's offset is that of the exponentials it stores.
    if (sizeof(Scalar) == sizeof(double) && log_sum > softmax.offset[i]) {
      softmax.sum[i] *= std::exp(softmax.offset[i] - log_sum);
      softmax.offset[i] = log_sum;
    }
    if (!std::isinf(log_sum)) softmax.sum[i] += std::exp(log_sum - softmax.offset[i]);
  }
}

#define INFONCE_TRAVELLING_ROWS(Scalar) \
  template void Passes<Scalar>::begin_column_sums(double); \
  template void Passes<Scalar>::end_column_sums(); \
  template void Passes<Scalar>::Met::add(int64_t, double, double); \
  template double Passes<Scalar>::met_logit(int64_t, int64_t, int); \
  template void Passes<Scalar>::meet_positives(); \
  template void Passes<Scalar>::add_met_positives(bool, int64_t, int64_t, Scalar *, int64_t, int); \
  template void Passes<Scalar>::weigh_columns(double); \
  template void Passes<Scalar>::read_rows(int, const infonce_travelling_rows &) const; \
  template void Passes<Scalar>::join_rows(int, const infonce_travelling_rows &);
INFONCE_TRAVELLING_ROWS(float)
INFONCE_TRAVELLING_ROWS(double)

}  // namespace infonce::cpu

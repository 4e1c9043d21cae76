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
    if (to.weight) to.weight[i] = pairs_.positive_count(i) > 0 ? upstream_.relative(i) * upstream_.largest : 0;
  }
}

template <class Scalar> void Passes<Scalar>::join_rows(int index, const infonce_travelling_rows &from) {
  SoftmaxRows<Scalar> &softmax = softmaxes[index];
  for (int64_t i = 0; i < rows(); ++i) {
    const double log_sum = from.log_sum[i];
    if (problem_.ranks) softmax.above[i] += from.above[i];
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
  template void Passes<Scalar>::weigh_columns(double); \
  template void Passes<Scalar>::read_rows(int, const infonce_travelling_rows &) const; \
  template void Passes<Scalar>::join_rows(int, const infonce_travelling_rows &);
INFONCE_TRAVELLING_ROWS(float)
INFONCE_TRAVELLING_ROWS(double)

}  // namespace infonce::cpu

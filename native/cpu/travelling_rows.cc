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

// To an anchor those of the part, or the other way round; anchors that do not meet the part are among them. Of a large
// class none.
template <class Scalar> typename Passes<Scalar>::OfId Passes<Scalar>::met_by(bool of_anchors, int64_t row) const {
  const std::vector<RowOfId> &others = of_anchors ? part_->by_id : anchors_by_id_;
  const RowOfId *const end = others.data() + others.size();
  const LargeClasses &large = of_anchors ? part_->anchors_of_classes : part_->rows_of_classes;
  if (large.exist() && large.class_of[row] >= 0) return {end, end};
  if (of_anchors ? !is_met(row) : part_->groups[row] < 0) return {end, end};
  const int32_t id = of_anchors ? meeting_ids_[row] : part_->ids[row];
  const RowOfId *const from = std::lower_bound(others.data(), end, RowOfId(id, 0));
  return {from, std::find_if(from, end, [id](const RowOfId &other) { return other.first != id; })};
}

// visit(row of the other side) for each of equal id, except an anchor's positive by index, in ascending order.
template <class Scalar>
template <class Visit>
void Passes<Scalar>::for_each_met(bool of_anchors, int64_t row, Visit &&visit) const {
  const OfId others = met_by(of_anchors, row);
  const int32_t *groups = of_anchors ? part_->groups.data() : part_->block.rows.groups;
  const int32_t own = of_anchors ? part_->block.rows.groups[row] : part_->groups[row];
  for (const RowOfId *other = others.from; other != others.to; ++other)
    if ((of_anchors || is_met(other->second)) && groups[other->second] != own) visit(int64_t(other->second));
}

// Counts the positives that are above the first one, of kPassRows rows: the next of each row at once.
template <class Scalar> void Passes<Scalar>::rank_met(bool of_anchors, int64_t first, int thread) {
  if (!problem_.ranks || !has_classes_ || !has_positives(row_loss())) return;
  const Side<Scalar> &side = of_anchors ? part_->block.rows : part_->block.columns;
  const Side<Scalar> &other_side = of_anchors ? part_->block.columns : part_->block.rows;
  const int64_t count = std::min(kPassRows, side.padded_rows - first), given = std::min(count, side.rows - first);
  OfId others[kPassRows];
  int64_t most = 0;
  for (int64_t r = 0; r < given; ++r) {
    others[r] = met_by(of_anchors, first + r);
    most = std::max<int64_t>(most, others[r].to - others[r].from);
  }
  int64_t partner[kPassRows];
  Scalar dots[kPassRows];
  for (int64_t k = 0; k < most; ++k) {
    for (int64_t r = 0; r < count; ++r) {
      const bool has_one = r < given && k < others[r].to - others[r].from;
      partner[r] = has_one && (of_anchors || is_met(others[r].from[k].second)) ? others[r].from[k].second : -1;
    }
    kernels_.ranking_dots(operand(side.matrix, thread), first, int(count), operand(other_side.matrix, thread), partner,
                          dots);
    for (int64_t r = 0; r < given; ++r) {
      if (partner[r] < 0 || !(dots[r] > side.softmax->rank[first + r])) continue;
      if (of_anchors) ++side.softmax->above[first + r];
      else ++part_->given->columns.above[first + r];
    }
  }
}

template <class Scalar> double Passes<Scalar>::met_logit(int64_t i, int64_t j, int thread) {
  const float *bias = part_->given->candidates.bias;
  const double dot = kernels_.dot(operand(layout_.anchors(), thread), i, operand(kPart, thread), j);
  return problem_.scale * dot + (bias ? double(bias[j]) : 0);
}

template <class Scalar> void Passes<Scalar>::meet_positives() {
  if (!part_has_positives()) return;
  const infonce_travelling_rows &given = part_->given->columns;
  const int64_t rows_of_part = part_->block.columns.rows;
  pool_.parallel(blocks_of(rows(), kPassRows), [&](int64_t t, int thread) {
    rank_met(true, t * kPassRows, thread);
    for (int64_t i = t * kPassRows; i < std::min((t + 1) * kPassRows, rows()); ++i) {
      for_each_met(true, i, [&](int64_t j) {
        const double s = met_logit(i, j, thread);
        met_[0][i].add(1, s, s);
      });
      meet_large_class(true, i, &met_[0][i], thread);
    }
  });
  if (!part_->block.columns.softmax) return;
  pool_.parallel(blocks_of(rows_of_part, kPassRows), [&](int64_t t, int thread) {
    rank_met(false, t * kPassRows, thread);
    for (int64_t j = t * kPassRows; j < std::min((t + 1) * kPassRows, rows_of_part); ++j) {
      Met met;
      for_each_met(false, j, [&](int64_t i) {
        const double s = met_logit(i, j, thread);
        met.add(1, s, s);
      });
      meet_large_class(false, j, &met, thread);
      given.positives[j] += int32_t(met.count);
      given.positive_sum[j] += met.sum;
      given.positive_log_sum[j] = log_of_both(given.positive_log_sum[j], met.log_sum);
    }
  });
}

template <class Scalar> void Passes<Scalar>::meet_terms() {
  const infonce_travelling_rows &given = part_->given->columns;
  const int64_t rows_of_part = part_->block.columns.rows;
  pool_.parallel(blocks_of(rows(), kPassRows), [&](int64_t t, int thread) {
    for (int64_t i = t * kPassRows; i < std::min((t + 1) * kPassRows, rows()); ++i) {
      const double log_sum = log_sum_of(softmaxes[0], i);
      for_each_met(true, i, [&](int64_t j) { met_[0][i].terms.add(log_sum - met_logit(i, j, thread)); });
    }
  });
  if (!part_->block.columns.softmax) return;
  pool_.parallel(blocks_of(rows_of_part, kPassRows), [&](int64_t t, int thread) {
    for (int64_t j = t * kPassRows; j < std::min((t + 1) * kPassRows, rows_of_part); ++j) {
      PositiveTerms terms;
      for_each_met(false, j, [&](int64_t i) { terms.add(given.log_sum[j] - met_logit(i, j, thread)); });
      given.term_losses[j] += terms.losses;
      given.term_shares[j] += terms.shares;
    }
  });
}

template <class Scalar>
void Passes<Scalar>::add_met_positives(bool of_anchors, int64_t first, int64_t count, Scalar *accumulators,
                                       int64_t accumulator_rows, int thread) {
  const Operand<Scalar> &others = operand(of_anchors ? kPart : layout_.anchors(), thread);
  const int64_t end = std::min(first + count, of_anchors ? rows() : part_->block.columns.rows);
  with_row_loss(row_loss(), [&](auto kind) {
    constexpr int32_t kRowLoss = decltype(kind)::value;
    for (int64_t row = first; row < end; ++row)
      for_each_met(of_anchors, row, [&](int64_t other) {
        const int64_t i = of_anchors ? row : other, j = of_anchors ? other : row;
        const double weight = met_weight<kRowLoss>(i, j, met_logit(i, j, thread));
        kernels_.add_row(accumulators + (row - first) * kernels_.panel, accumulator_rows, weight, others, other);
      });
  });
  for (int64_t row = first; row < end; ++row)
    add_large_class_of_part(of_anchors, row, accumulators + (row - first) * kernels_.panel, accumulator_rows);
}

template <class Scalar>
template <int32_t kRowLoss>
double Passes<Scalar>::met_weight(int64_t i, int64_t j, double logit) const {
  const infonce_travelling_rows &given = part_->given->columns;
  const SoftmaxRows<Scalar> &softmax = softmaxes[0];
  const auto weight_of = [&](int64_t positives, double log_sum_exp, double rest_share) {
    // That of an only one is smoothed already.
    const double smoothed = positives > 1 ? smoothing() / double(positives) : 0;
    return RowLoss<kRowLoss>::pair_weight(true, positives, logit, log_sum_exp, rest_share) + smoothed;
  };
  double weight = upstream_.relative(i) * weight_of(all_positives(0, i), softmax.log_sum_exp[i], softmax.rest_share[i]);
  if (part_->block.columns.softmax && given.all_positives[j] > 0)
    weight += given.weight[j] / upstream_.largest *
              weight_of(given.all_positives[j], given.log_sum_exp[j], given.rest_share[j]);
  return weight;
}

template <class Scalar>
void Passes<Scalar>::begin(double offset, int64_t padded_rows, ColumnSums *sums, SoftmaxRows<Scalar> *rows) {
  sums->sum.assign(padded_rows, 0);
  sums->offset.assign(padded_rows, offset);
  rows->sum = sums->sum.data();
  rows->offset = sums->offset.data();
}

template <class Scalar> void Passes<Scalar>::end(const ColumnSums &sums, double *log_sum) const {
  for (int64_t j = 0; j < part_->block.columns.rows; ++j)
    if (sums.sum[j] > 0) log_sum[j] = log_of_both(log_sum[j], sums.offset[j] + std::log(sums.sum[j]));
}

template <class Scalar> void Passes<Scalar>::begin_column_sums(double offset) {
  if (!part_->block.columns.softmax) return;
  const infonce_travelling_rows &given = part_->given->columns;
  Columns &columns = part_->columns;
  SoftmaxRows<Scalar> &softmax = part_->softmax;
  const int64_t rows = part_->block.columns.rows, padded_rows = part_->block.columns.padded_rows;
  begin(offset, padded_rows, &columns, &softmax);
  if (beta() != 0) begin(offset, padded_rows, &columns.weights, &part_->weights);
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
  end(columns, given.log_sum);
  if (beta() != 0) end(columns.weights, given.weights_log_sum);
  for (int64_t j = 0; problem_.ranks && j < part_->block.columns.rows; ++j) given.above[j] += int32_t(columns.above[j]);
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
  if (beta() == 0) return;
  ColumnSums &weights = columns.weights;
  weights.weight.assign(padded_rows, 0);
  weights.log_sum_exp.assign(padded_rows, std::numeric_limits<double>::infinity());
  for (int64_t j = 0; j < part_->block.columns.rows; ++j) {
    weights.weight[j] = -columns.weight[j];
    weights.log_sum_exp[j] = given.weights_log_sum_exp[j];
  }
  part_->weights.weight = weights.weight.data();
  part_->weights.log_sum_exp = weights.log_sum_exp.data();
}

template <class Scalar> void Passes<Scalar>::read_rows(int index, const infonce_travelling_rows &to) const {
  const SoftmaxRows<Scalar> &softmax = softmaxes[index];
  for (int64_t i = 0; i < rows(); ++i) {
    if (to.rank) to.rank[i] = softmax.rank[i];
    if (to.log_sum) to.log_sum[i] = log_sum_of(softmax, i);
    if (to.above) to.above[i] = int32_t(softmax.above[i]);
    if (to.logit_sum) to.logit_sum[i] = softmax.logit_sum[i];
    if (to.log_sum_exp) to.log_sum_exp[i] = softmax.log_sum_exp[i];
    if (to.weight) to.weight[i] = positive_count(i) > 0 ? upstream_.relative(i) * upstream_.largest : 0;
    if (to.all_positives) to.all_positives[i] = int32_t(all_positives(index, i));
    if (to.rest_share) to.rest_share[i] = softmax.rest_share[i];
    if (to.weights_log_sum_exp && beta() != 0) to.weights_log_sum_exp[i] = softmaxes[1].log_sum_exp[i];
  }
  if (to.positives_log_mean) *to.positives_log_mean = positives_log_mean_;
}

template <class Scalar> void Passes<Scalar>::join(double log_sum, int64_t i, SoftmaxRows<Scalar> *rows) {
  // The panel scheme's offset is that of the exponentials it stores.
  if (sizeof(Scalar) == sizeof(double) && log_sum > rows->offset[i]) {
    rows->sum[i] *= std::exp(rows->offset[i] - log_sum);
    rows->offset[i] = log_sum;
  }
  if (!std::isinf(log_sum)) rows->sum[i] += std::exp(log_sum - rows->offset[i]);
}

template <class Scalar> void Passes<Scalar>::take_ranks(const infonce_travelling_rows &from) {
  for (int64_t i = 0; i < rows(); ++i) softmaxes[0].rank[i] = Scalar(from.rank[i]);
}

// Positives have the share of the rest for weight. Rows without any candidates have nothing to pass on.
template <class Scalar> void Passes<Scalar>::take_weights(const infonce_travelling_rows &from) {
  constexpr bool kStoresExponentials = sizeof(Scalar) == sizeof(float);
  SoftmaxRows<Scalar> &softmax = softmaxes[0];
  weights_of_visitors_.resize(size_t(rows()));
  for (int64_t i = 0; i < rows(); ++i) {
    const bool is_empty = std::isinf(from.log_sum_exp[i]);
    const double weight = is_empty ? 0 : from.weight[i] / upstream_.largest, log_sum_exp = from.log_sum_exp[i];
    softmax.log_sum_exp[i] = is_empty ? std::numeric_limits<double>::infinity() : log_sum_exp;
    softmax.weight[i] =
        Scalar(kStoresExponentials ? weight * std::exp(softmax.offset[i] - softmax.log_sum_exp[i]) : weight);
    softmax.rest_share[i] = 0;
    weights_of_visitors_[size_t(i)] = weight;
  }
  upstream_.of_visitors = weights_of_visitors_.data();
}

template <class Scalar> void Passes<Scalar>::join_rows(int index, const infonce_travelling_rows &from) {
  if (have_weights(from)) return take_weights(from);
  if (have_ranks_alone(from)) return take_ranks(from);
  SoftmaxRows<Scalar> &softmax = softmaxes[index];
  for (int64_t i = 0; i < rows() && from.term_losses; ++i) {
    met_[index][i].terms.losses += from.term_losses[i];
    met_[index][i].terms.shares += from.term_shares[i];
  }
  if (from.term_losses) return;
  for (int64_t i = 0; i < rows(); ++i) {
    if (problem_.ranks) softmax.above[i] += from.above[i];
    if (travels_with_positives(problem_, index))
      met_[index][i].add(from.positives[i], from.positive_sum[i], from.positive_log_sum[i]);
    if (softmax.logit_sum) softmax.logit_sum[i] += from.logit_sum[i];
    join(from.log_sum[i], i, &softmax);
    if (SoftmaxRows<Scalar> *weights = weights_of_negatives()) join(from.weights_log_sum[i], i, weights);
    if (positive_weights_)
      positive_weights_[i] = mises_fisher_weight(std::exp(positive_exponents_[i] - *from.positives_log_mean), 1);
  }
}

#define INFONCE_TRAVELLING_ROWS(Scalar) \
  template void Passes<Scalar>::begin(double, int64_t, ColumnSums *, SoftmaxRows<Scalar> *); \
  template void Passes<Scalar>::end(const ColumnSums &, double *) const; \
  template void Passes<Scalar>::join(double, int64_t, SoftmaxRows<Scalar> *); \
  template void Passes<Scalar>::begin_column_sums(double); \
  template void Passes<Scalar>::end_column_sums(); \
  template void Passes<Scalar>::Met::add(int64_t, double, double); \
  template typename Passes<Scalar>::OfId Passes<Scalar>::met_by(bool, int64_t) const; \
  template double Passes<Scalar>::met_logit(int64_t, int64_t, int); \
  template void Passes<Scalar>::rank_met(bool, int64_t, int); \
  template void Passes<Scalar>::meet_positives(); \
  template void Passes<Scalar>::meet_terms(); \
  template void Passes<Scalar>::add_met_positives(bool, int64_t, int64_t, Scalar *, int64_t, int); \
  template void Passes<Scalar>::weigh_columns(double); \
  template void Passes<Scalar>::read_rows(int, const infonce_travelling_rows &) const; \
  template void Passes<Scalar>::take_ranks(const infonce_travelling_rows &); \
  template void Passes<Scalar>::take_weights(const infonce_travelling_rows &); \
  template void Passes<Scalar>::join_rows(int, const infonce_travelling_rows &);
INFONCE_TRAVELLING_ROWS(float)
INFONCE_TRAVELLING_ROWS(double)

}  // namespace infonce::cpu

// Gradients of the pairs outside the matrix part, and the last step of each gradient.
#include "common/row_loss.h"
#include "common/smoothing.h"
#include "cpu/passes.h"

namespace infonce::cpu {

// d (loss of row i) / d (logit of its pair with row j outside the matrix), times row i's upstream gradient.
template <class Scalar>
template <int32_t kRowLoss>
double Passes<Scalar>::pair_weight(int64_t i, int64_t j, bool is_positive, double logit) const {
  const int64_t positive_count = this->positive_count(i);
  // A row of the memory, too, has no upstream gradient to look at.
  if (positive_count == 0 || !pairs_.counts(i, j, is_positive)) return 0;
  const SoftmaxRows<Scalar> &softmax = softmaxes[0];
  double weight =
      RowLoss<kRowLoss>::pair_weight(is_positive, positive_count, logit, softmax.log_sum_exp[i], softmax.rest_share[i]);
  // That of an only one is smoothed already.
  if (is_positive && positive_count > 1) weight += smoothing() / double(positive_count);
  return upstream_.relative(i) * weight;
}

// The same of anchor i and its positive by index, which every softmax has.
template <class Scalar> double Passes<Scalar>::weight_of_only_positive(int64_t i) const {
  const double g = upstream_.relative(i);
  double weight = g * only_positive_weight(softmaxes[0].rest_share[i]);
  for (int s = 1; s < softmax_count(); ++s) weight += g * only_positive_weight(softmaxes[s].rest_share[i]);
  return weight;
}

// A positive's logit has the margin in it times the scale.
template <class Scalar> double Passes<Scalar>::grad_scale_of_margin() const {
  double weights = 0;
  for (int s = 0; s < softmax_count(); ++s) {
    const Smoothing smoothing = smoothing_of(problem_, s);
    const double in_block = smoothing.positive_is_apart ? 0 : smoothing.of_candidate();
    for (int64_t i = 0; i < rows(); ++i)
      weights += upstream_.relative(i) * (in_block + only_positive_weight(softmaxes[s].rest_share[i]));
  }
  return -margin() * upstream_.largest * weights;
}

template <class Scalar>
void Passes<Scalar>::add_large_class(int64_t i, Partners partners, Scalar *accumulators, int64_t accumulator_rows,
                                     int thread) {
  // The panel scheme took the class off its matrix already, with the row itself, where it was in there.
  const bool taken_off = sizeof(Scalar) == sizeof(float) && has_positives(row_loss());
  const ClassSums sums = class_sums(pairs_.large_class(i));
  const double g = upstream_.relative(i), each = (1 - smoothing()) / double(positive_count(i));
  const bool has_memory = layout_.elsewhere() != kNone;
  if (partners == Partners::kElsewhere) {
    if (!taken_off && has_memory)
      kernels_.add_vector(accumulators, accumulator_rows, -g * each, sums.memory, problem_.dim);
    return;
  }
  if (!taken_off) {
    kernels_.add_vector(accumulators, accumulator_rows, -g * each, sums.plain, problem_.dim);
    if (has_memory) kernels_.add_vector(accumulators, accumulator_rows, g * each, sums.memory, problem_.dim);
    kernels_.add_vector(accumulators, accumulator_rows, -each, sums.weighted, problem_.dim);
  }
  kernels_.add_row(accumulators, accumulator_rows, 2 * g * each, operand(layout_.anchors(), thread), i);
}

template <class Scalar>
template <int32_t kRowLoss>
void Passes<Scalar>::add_pairs_of(int64_t i, Partners partners, Scalar *accumulators, int64_t accumulator_rows,
                                  int thread) {
  if (pairs_.large_class(i) >= 0) return add_large_class(i, partners, accumulators, accumulator_rows, thread);
  const bool logit_is_read = has_classes_ && (pairs_.largest_partner_count() > 1 || !met_[0].empty());
  pairs_.for_each_partner(i, [&](int64_t j, bool is_positive) {
    if (layout_.is_elsewhere(j) != (partners == Partners::kElsewhere)) return;
    double weight;
    if (has_classes_) {
      const bool is_positive_of_partner = pairs_.first_positive_of(j) == i || pairs_.positive_count(j) > 1;
      const double s = logit_is_read ? logit(i, j, thread) : 0;
      weight = pair_weight<kRowLoss>(i, j, is_positive, s) + pair_weight<kRowLoss>(j, i, is_positive_of_partner, s);
    } else {
      weight = weight_of_only_positive(i);
    }
    const Layout::Place at = layout_.place_of(j);
    kernels_.add_row(accumulators, accumulator_rows, weight, operand(at.matrix, thread), at.row);
  });
}

// d (loss of row i) / d (logit of a candidate of its own), times row i's upstream gradient.
template <class Scalar> template <int32_t kRowLoss> double Passes<Scalar>::own_weight(int64_t i, double logit) const {
  const SoftmaxRows<Scalar> &softmax = softmaxes[0];
  return upstream_.relative(i) *
         RowLoss<kRowLoss>::pair_weight(false, 1, logit, softmax.log_sum_exp[i], softmax.rest_share[i]);
}

// The gradients of anchor i and its own candidates by each other.
template <class Scalar>
template <int32_t kRowLoss>
void Passes<Scalar>::add_own_of(int64_t i, Scalar *accumulators, int64_t accumulator_rows, int thread) {
  const double *sum = own_.add_gradient(i, problem_.scale * upstream_.largest, thread,
                                        [&](double logit) { return own_weight<kRowLoss>(i, logit); });
  kernels_.add_vector(accumulators, accumulator_rows, 1, sum, problem_.dim);
}

// Of anchors first ... first + count.
template <class Scalar>
void Passes<Scalar>::add_pairs(int64_t first, int64_t count, Partners partners, Scalar *accumulators,
                               int64_t accumulator_rows, int thread) {
  with_row_loss(row_loss(), [&](auto kind) {
    for (int64_t r = 0; r < count; ++r)
      add_pairs_of<kind()>(first + r, partners, accumulators + r * kernels_.panel, accumulator_rows, thread);
    for (int64_t r = 0; own_.exist() && partners == Partners::kElsewhere && r < count; ++r)
      add_own_of<kind()>(first + r, accumulators + r * kernels_.panel, accumulator_rows, thread);
  });
}

template <class Scalar>
double Passes<Scalar>::count_apart(int64_t first, int64_t count, Scalar *accumulators, int64_t accumulator_rows,
                                   int thread) {
  add_pairs(first, count, Partners::kElsewhere, accumulators, accumulator_rows, thread);
  if (smoothing() != 0)
    add_smoothing(layout_.anchors(), Partners::kElsewhere, first, count, accumulators, accumulator_rows, thread);
  return along(layout_.anchors(), first, count, accumulators, accumulator_rows, thread);
}

// The sum of <u, d loss / d u> over rows first ... first + count.
template <class Scalar>
double Passes<Scalar>::along(int matrix, int64_t first, int64_t count, Scalar *accumulators, int64_t accumulator_rows,
                             int thread) {
  Operand<Scalar> sums;  // the accumulators as rows
  sums.row_panels = accumulators;
  sums.padded_rows = accumulator_rows;
  double along = 0;
  for (int64_t r = 0; r < count; ++r) along += kernels_.dot(operand(matrix, thread), first + r, sums, r);
  return along * problem_.scale * upstream_.largest;
}

// What rows of candidates get of the anchors whose own they are.
template <class Scalar>
void Passes<Scalar>::add_anchors_to_own(int64_t first, int64_t count, Scalar *accumulators, int64_t accumulator_rows,
                                        int thread) {
  const Operand<Scalar> &anchors = operand(layout_.anchors(), thread);
  with_row_loss(row_loss(), [&](auto kind) {
    for (int64_t r = 0; r < count; ++r) {
      const int64_t i = own_.anchor_of(first + r);
      const double weight = own_weight<kind()>(i, own_.logit_of_row(first + r));
      kernels_.add_row(accumulators + r * kernels_.panel, accumulator_rows, weight, anchors, i);
    }
  });
}

template <class Scalar>
double Passes<Scalar>::finish(int matrix, bool counted_apart, int64_t first, int64_t count, Scalar *accumulators,
                              int64_t accumulator_rows, float *gradient, int thread) {
  const bool of_anchors = matrix == layout_.anchors(), of_positives = matrix == layout_.elsewhere() && !has_classes_;
  const bool has_pairs_elsewhere = of_anchors && !counted_apart && layout_.elsewhere() != kNone;
  if (has_pairs_elsewhere) add_pairs(first, count, Partners::kElsewhere, accumulators, accumulator_rows, thread);
  if (of_anchors && has_classes_)
    add_pairs(first, count, Partners::kAmongAnchors, accumulators, accumulator_rows, thread);
  for (int64_t r = 0; of_positives && r < count; ++r)
    pairs_.for_each_anchor_of(first + r, [&](int64_t i) {
      kernels_.add_row(accumulators + r * kernels_.panel, accumulator_rows, weight_of_only_positive(i),
                       operand(layout_.anchors(), thread), i);
    });
  if (matrix == kPart && part_has_positives())
    add_met_positives(false, first, count, accumulators, accumulator_rows, thread);
  if (matrix == kPart) add_smoothing_of_part(false, first, count, accumulators, accumulator_rows);
  if (pairs_.further().exist()) add_further(matrix, first, count, accumulators, accumulator_rows, thread);
  if (own_.are_among(matrix)) add_anchors_to_own(first, count, accumulators, accumulator_rows, thread);
  if (smoothing() != 0 && !(of_anchors && counted_apart))
    add_smoothing(matrix, Partners::kElsewhere, first, count, accumulators, accumulator_rows, thread);
  if (smoothing() != 0 && of_anchors)
    add_smoothing(matrix, Partners::kAmongAnchors, first, count, accumulators, accumulator_rows, thread);
  // The same whether the gradient is wanted or not.
  const bool is_counted = matrix == kPart ? counts_part() : counts_all_;
  const double of_all = is_counted ? along(matrix, first, count, accumulators, accumulator_rows, thread) : 0;
  if (!gradient) return of_all;
  const double of_rows = kernels_.finish({&operand(matrix, thread), first, int(count), accumulators, accumulator_rows,
                                          problem_.scale * upstream_.largest, gradient});
  return is_counted ? of_all : of_rows;
}

template double Passes<float>::weight_of_only_positive(int64_t) const;
template double Passes<double>::weight_of_only_positive(int64_t) const;
template double Passes<float>::grad_scale_of_margin() const;
template double Passes<double>::grad_scale_of_margin() const;
template void Passes<float>::add_large_class(int64_t, Partners, float *, int64_t, int);
template void Passes<double>::add_large_class(int64_t, Partners, double *, int64_t, int);
template void Passes<float>::add_pairs(int64_t, int64_t, Partners, float *, int64_t, int);
template void Passes<double>::add_pairs(int64_t, int64_t, Partners, double *, int64_t, int);
template double Passes<float>::count_apart(int64_t, int64_t, float *, int64_t, int);
template double Passes<double>::count_apart(int64_t, int64_t, double *, int64_t, int);
template double Passes<float>::along(int, int64_t, int64_t, float *, int64_t, int);
template double Passes<double>::along(int, int64_t, int64_t, double *, int64_t, int);
template void Passes<float>::add_anchors_to_own(int64_t, int64_t, float *, int64_t, int);
template void Passes<double>::add_anchors_to_own(int64_t, int64_t, double *, int64_t, int);
template double Passes<float>::finish(int, bool, int64_t, int64_t, float *, int64_t, float *, int);
template double Passes<double>::finish(int, bool, int64_t, int64_t, double *, int64_t, float *, int);

}  // namespace infonce::cpu

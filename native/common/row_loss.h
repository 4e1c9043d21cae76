// The loss of one row and its derivatives, from its positives and sums, in float64: the only place, for both backends,
// that computes the softmax of a row.
#pragma once

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "infonce/infonce.h"

#ifdef __CUDACC__
#define INFONCE_HOST_DEVICE __host__ __device__
#else
#define INFONCE_HOST_DEVICE
#endif

namespace infonce {

// Whether the denominator of a row loss has all positives in it.
INFONCE_HOST_DEVICE constexpr bool has_positives(int32_t row_loss) {
  return row_loss == INFONCE_ROW_LOSS_CROSS_ENTROPY || row_loss == INFONCE_ROW_LOSS_DEBIASED ||
         row_loss == INFONCE_ROW_LOSS_MEAN_INSIDE;
}

// Whether the loss of a row needs only the mean of its positives' logits.
INFONCE_HOST_DEVICE constexpr bool needs_mean_of_positives(int32_t row_loss) {
  return row_loss != INFONCE_ROW_LOSS_POSITIVE_AND_NEGATIVES && row_loss != INFONCE_ROW_LOSS_MEAN_INSIDE;
}

// The weight of a positive by von Mises and Fisher, from exp(dot product / sigma) and the mean of that over all rows.
INFONCE_HOST_DEVICE inline double mises_fisher_weight(double exponential, double mean) {
  return 2 - exponential / mean;
}

// Calls visit(std::integral_constant of the row loss).
template <class Visit> void with_row_loss(int32_t row_loss, Visit &&visit) {
  if (row_loss == INFONCE_ROW_LOSS_DECOUPLED)
    return visit(std::integral_constant<int32_t, INFONCE_ROW_LOSS_DECOUPLED>());
  if (row_loss == INFONCE_ROW_LOSS_POSITIVE_AND_NEGATIVES)
    return visit(std::integral_constant<int32_t, INFONCE_ROW_LOSS_POSITIVE_AND_NEGATIVES>());
  if (row_loss == INFONCE_ROW_LOSS_DEBIASED) return visit(std::integral_constant<int32_t, INFONCE_ROW_LOSS_DEBIASED>());
  if (row_loss == INFONCE_ROW_LOSS_MEAN_INSIDE)
    return visit(std::integral_constant<int32_t, INFONCE_ROW_LOSS_MEAN_INSIDE>());
  visit(std::integral_constant<int32_t, INFONCE_ROW_LOSS_CROSS_ENTROPY>());
}

// The sums of a row whose harder negatives count more, of exponentials of logits times 1 + beta and times beta.
struct HardSums {
  double log_hard, log_weights;

  // log of what stands for the sum over the negatives.
  INFONCE_HOST_DEVICE double log_sum(double negatives) const { return std::log(negatives) + log_hard - log_weights; }
  // d loss / d logit of a negative is e^((1 + beta) * logit - first) - e^(beta * logit - second), where that by a term of
  // the sum is e^-log_sum_exp.
  INFONCE_HOST_DEVICE double first(double negatives, double beta, double log_sum_exp) const {
    return log_hard - std::log1p(beta) - log_sum(negatives) + log_sum_exp;
  }
  INFONCE_HOST_DEVICE double second(double negatives, double beta, double log_sum_exp) const {
    return log_weights - std::log(beta) - log_sum(negatives) + log_sum_exp;
  }
};

// The parameters of a debiased row loss.
struct Debiasing {
  double tau_plus = 0;
  double beta = 0;               // 0: all negatives count alike
  double negatives = 0;          // of a row
  double log_least = -INFINITY;  // of the sum over them
};
inline Debiasing debiasing_of(const infonce_problem &problem) {
  const infonce_softmax &softmax = problem.softmaxes[0];
  const int64_t here = problem.matrices[softmax.anchors].rows - 2;
  const double negatives = double(softmax.negatives > 0 ? softmax.negatives : here);
  return {softmax.tau_plus, softmax.beta, negatives, std::log(negatives) - problem.scale};
}

// d loss / d logit of a positive that is the only one, and of a pair that is none.
INFONCE_HOST_DEVICE inline double only_positive_weight(double rest_share) { return -rest_share; }
INFONCE_HOST_DEVICE inline double negative_weight(double logit, double log_sum_exp) {
  return std::exp(logit - log_sum_exp);
}

// Of positives that each stand beside a row's negatives alone: sums of their losses, and of 1 - p.
struct PositiveTerms {
  double losses = 0, shares = 0;

  // `excess`: the logarithm of the sum over the negatives, less the positive's logit.
  INFONCE_HOST_DEVICE void add(double excess) {
    losses += excess > 0 ? excess + std::log1p(std::exp(-excess)) : std::log1p(std::exp(excess));
    shares += 1 / (1 + std::exp(-excess));
  }
};

// A row's loss, by kKind, an infonce_row_loss, and what the gradient needs of it.
template <int32_t kKind> class RowLoss {
 public:
  // The matrix part of the denominator is sum * e^offset. `positives`: how many the row has, at least one.
  // `multiplicity`: how often an only positive is in the denominator of a cross-entropy.
  INFONCE_HOST_DEVICE RowLoss(double sum, double offset, int64_t positives, const Debiasing &debiasing = {},
                              double multiplicity = 1)
      : debiasing_(debiasing),
        positives_(positives),
        multiplicity_(multiplicity),
        offset_(offset),
        base_(offset),
        total_(sum) {
    if (!(sum > 0)) base_ = -INFINITY;
  }

  // Of the positives' logits in a decoupled loss. Default 1.
  INFONCE_HOST_DEVICE void weigh_positives(double weight) { positive_weight_ = weight; }

  // Pairs outside the matrix part, one by one; after the last of them `close`. Where a row has several positives, all of
  // these pairs are.
  INFONCE_HOST_DEVICE void add(double logit, bool is_positive) {
    if (is_positive) positive_logit_ += logit;
    if (is_positive && kPositivesApart && positives_ > 1) return add_term(logit);
    if (is_positive && kMeanInside && positives_ > 1) return add_inside(logit);
    if (!is_positive || (positives_ > 1 && kHasPositives)) total_ += exponential(logit);
  }
  // Further positives at once, of which none has a term of its own: log of the sum of their exponentials, -infinity of those
  // that are in the matrix part, and the sum of their logits.
  INFONCE_HOST_DEVICE void add_positives(double log_sum_exp, double sum) {
    positive_logit_ += sum;
    if (kMeanInside) return add_inside(log_sum_exp);
    if (kHasPositives && log_sum_exp > -INFINITY) total_ += exponential(log_sum_exp);
  }
  // The same of those that have terms of their own.
  INFONCE_HOST_DEVICE void add_terms(const PositiveTerms &terms) {
    terms_.losses += terms.losses;
    terms_.shares += terms.shares;
  }
  // An only positive is kept apart from the rest of the sum.
  INFONCE_HOST_DEVICE void close() {
    if (positives_ > 1) positive_logit_ /= double(positives_);
    if (kMeanInside && positives_ > 1) log_positives_ += std::log(positive_);
    if (positives_ > 1 || kKind == INFONCE_ROW_LOSS_DECOUPLED) return;
    if (kKind == INFONCE_ROW_LOSS_DEBIASED) return close_debiased();
    positive_ = exponential(positive_logit_);
    rest_ = total_;
    total_ += multiplicity_ * positive_;
  }
  // Instead of pairs: all positives are in the matrix part, and this is the mean of their logits.
  INFONCE_HOST_DEVICE void close_with_mean(double positive_logit) { positive_logit_ = positive_logit; }

  INFONCE_HOST_DEVICE double loss() const {
    if (kPositivesApart && positives_ > 1) return terms_.losses / double(positives_);
    if (kMeanInside && positives_ > 1) return softplus(log_total() - log_positives_) + std::log(double(positives_));
    // log(1 + rest / positive) keeps its digits when the positive is nearly all of the sum.
    const double ratio = rest_ / positive_;
    if (kKind != INFONCE_ROW_LOSS_DECOUPLED && positives_ == 1 && ratio < 1)
      return multiplicity_ == 1 ? std::log1p(ratio) : std::log(multiplicity_ + ratio);
    // The difference of the large numbers first: added to one of them, the logarithm would lose its digits.
    if (kKind == INFONCE_ROW_LOSS_DECOUPLED) return (base_ - positive_weight_ * positive_logit_) + std::log(total_);
    return (base_ - positive_logit_) + std::log(total_);
  }

  // The mean logit of the positives, once closed.
  INFONCE_HOST_DEVICE double positive_logit() const { return positive_logit_; }

  // d loss / d logit of a pair in the matrix part is e^(logit - log_sum_exp).
  INFONCE_HOST_DEVICE double log_sum_exp() const {
    if (kKind == INFONCE_ROW_LOSS_DEBIASED)
      return log_total() + (is_clamped_ ? kBeyondExponents : std::log1p(-debiasing_.tau_plus));
    if (kMeanInside && positives_ > 1) return log_positives_ + softplus(log_total() - log_positives_);
    // Without other candidates any number serves.
    if (kPositivesApart && positives_ > 1 && !(total_ > 0)) return positive_logit_;
    if (kPositivesApart && positives_ > 1) return log_total() - std::log(mean_rest_share());
    return log_total();
  }

  // d loss / d (stored exponential e^(s - offset)) of a pair in the matrix part, except positives there.
  INFONCE_HOST_DEVICE double matrix_weight() const {
    if (kKind == INFONCE_ROW_LOSS_DEBIASED && is_clamped_) return 0;
    if (kPositivesApart && positives_ > 1 && !(total_ > 0)) return 0;
    if (kMeanInside && positives_ > 1) return std::exp(offset_ - log_sum_exp());
    double share = 1;
    if (kPositivesApart && positives_ > 1) share = mean_rest_share();
    if (kKind == INFONCE_ROW_LOSS_DEBIASED) share = 1 / (1 - debiasing_.tau_plus);
    return base_ == offset_ ? share / total_ : share * std::exp(offset_ - base_) / total_;
  }

  // 1 - p of an only positive, without the cancellation of 1 - p; their weight where they are not in the denominator.
  // Where each of several has its own: log of what all of them stand beside. Where the mean is inside: log of what an
  // exponential is divided by to be its positive's weight.
  INFONCE_HOST_DEVICE double rest_share() const {
    if (kMeanInside && positives_ > 1) return log_positives_ + softplus(log_positives_ - log_total());
    if (kPositivesApart && positives_ > 1) return log_total();
    // The share of the positive that the estimate subtracts changes with its logit.
    if (kKind == INFONCE_ROW_LOSS_DEBIASED && !is_clamped_) return sum_ / (1 - debiasing_.tau_plus) / total_;
    return kKind != INFONCE_ROW_LOSS_DECOUPLED ? rest_ / total_ : positive_weight_;
  }

  // d loss / d (logit of a pair outside the matrix part), from what was kept of the row. By reference: a GPU
  // reads only what its case needs.
  INFONCE_HOST_DEVICE static double pair_weight(bool is_positive, int64_t positives, const double &logit,
                                                const double &log_sum_exp, const double &rest_share) {
    if (is_positive && kKind == INFONCE_ROW_LOSS_DECOUPLED) return only_positive_weight(rest_share) / double(positives);
    if (is_positive && positives == 1) return only_positive_weight(rest_share);
    if (is_positive && kMeanInside) return -std::exp(logit - rest_share);
    if (is_positive && kPositivesApart)
      return only_positive_weight(share_of_rest(logit, rest_share)) / double(positives);
    return negative_weight(logit, log_sum_exp) - (is_positive ? 1.0 / double(positives) : 0.0);
  }

 private:
  static constexpr bool kHasPositives = has_positives(kKind);
  static constexpr bool kPositivesApart = kKind == INFONCE_ROW_LOSS_POSITIVE_AND_NEGATIVES;
  static constexpr bool kMeanInside = kKind == INFONCE_ROW_LOSS_MEAN_INSIDE;
  static constexpr double kRange = 600;  // e^600 and its sums fit float64

  INFONCE_HOST_DEVICE double exponential(double logit) {
    if (logit > base_ + kRange) {
      total_ = total_ > 0 ? total_ * std::exp(base_ - logit) : 0;
      base_ = logit;
    }
    return std::exp(logit - base_);
  }
  INFONCE_HOST_DEVICE double log_total() const { return base_ + std::log(total_); }
  // log (1 + e^x)
  INFONCE_HOST_DEVICE static double softplus(double x) {
    return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
  }
  // Positives have a base of their own: none may vanish beside a rest that is far larger.
  INFONCE_HOST_DEVICE void add_inside(double logit) {
    if (logit > log_positives_) {
      positive_ = positive_ > 0 ? positive_ * std::exp(log_positives_ - logit) : 0;
      log_positives_ = logit;
    }
    positive_ += std::exp(logit - log_positives_);
  }

  INFONCE_HOST_DEVICE void close_debiased() {
    exponential(debiasing_.log_least);  // for the base
    positive_ = exponential(positive_logit_);
    sum_ = total_;
    const double tau = debiasing_.tau_plus, least = std::exp(debiasing_.log_least - base_);
    rest_ = (sum_ - tau * debiasing_.negatives * positive_) / (1 - tau);
    is_clamped_ = !(rest_ > least);
    if (is_clamped_) rest_ = least;
    total_ = positive_ + rest_;
  }

  // 1 - p of a positive beside a rest of this logarithm.
  INFONCE_HOST_DEVICE static double share_of_rest(double logit, double log_rest) {
    return 1 / (1 + std::exp(logit - log_rest));
  }
  // log (e^logit + rest) - logit.
  INFONCE_HOST_DEVICE void add_term(double logit) {
    terms_.add(total_ > 0 ? (base_ - logit) + std::log(total_) : -INFINITY);
  }
  // Where none of a row's gradient is left its logarithm is still a number.
  INFONCE_HOST_DEVICE double mean_rest_share() const {
    const double mean = terms_.shares / double(positives_);
    return mean > kLeastShare ? mean : kLeastShare;
  }
  static constexpr double kLeastShare = 1e-300;
  static constexpr double kBeyondExponents = 4000;  // e^-4000 is 0

  Debiasing debiasing_;
  int64_t positives_;
  double multiplicity_;
  double offset_, base_, total_;
  double positive_weight_ = 1;
  double positive_logit_ = 0;         // the sum over positives; the mean, once closed
  double positive_ = 0, rest_ = 0;    // exponentials: of the only positive, of all else
  double sum_ = 0;                    // exponentials of the negatives, of which the rest is an estimate
  bool is_clamped_ = false;           // the estimate is the least that it may be
  double log_positives_ = -INFINITY;  // where the mean is inside: the base of their sum; its logarithm, once closed
  PositiveTerms terms_;               // of those that have terms of their own
};

}  // namespace infonce

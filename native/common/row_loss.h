// One row's loss and weights from its log-sum-exp, in float64: the only place where the softmax of a row is put
// together.
#pragma once

#include <cmath>

#ifdef __CUDACC__
#define INFONCE_HOST_DEVICE __host__ __device__
#else
#define INFONCE_HOST_DEVICE
#endif

namespace infonce {

class RowLoss {
 public:
  // The matrix part: sum * e^offset.
  INFONCE_HOST_DEVICE RowLoss(double sum, double offset) : offset_(offset), base_(offset), total_(sum) {
    if (!(sum > 0)) base_ = -INFINITY;
  }

  // Pairs that are treated one by one. A row's only positive comes last and is kept apart from the rest.
  INFONCE_HOST_DEVICE void add(double logit) { total_ += exponential(logit); }
  INFONCE_HOST_DEVICE void add_only_positive(double logit) {
    positive_logit_ = logit;
    positive_ = exponential(logit);
    rest_ = total_;
    total_ += positive_;
  }

  INFONCE_HOST_DEVICE double log_sum_exp() const { return base_ + std::log(total_); }

  // 1 / (sum over the denominator of e^(s - offset)): what turns stored exponentials into probabilities.
  INFONCE_HOST_DEVICE double matrix_weight() const {
    return base_ == offset_ ? 1 / total_ : std::exp(offset_ - base_) / total_;
  }

  // 1 - p of the only positive, without the cancellation of 1 - p.
  INFONCE_HOST_DEVICE double rest_share() const { return rest_ / total_; }

  // log(1 + rest / positive) keeps its digits when the positive is nearly all of the sum.
  INFONCE_HOST_DEVICE double loss_of_only_positive() const {
    const double ratio = rest_ / positive_;
    return ratio < 1 ? std::log1p(ratio) : loss_of_mean_positive(positive_logit_);
  }

  // The difference of the large numbers first: beside them the logarithm would lose its digits.
  INFONCE_HOST_DEVICE double loss_of_mean_positive(double logit) const { return (base_ - logit) + std::log(total_); }

 private:
  static constexpr double kRange = 600;  // e^600 and its sums fit float64

  INFONCE_HOST_DEVICE double exponential(double logit) {
    if (logit > base_ + kRange) {
      total_ = total_ > 0 ? total_ * std::exp(base_ - logit) : 0;
      base_ = logit;
    }
    return std::exp(logit - base_);
  }

  double offset_, base_, total_;
  double positive_logit_ = 0, positive_ = 0, rest_ = 0;
};

}  // namespace infonce

#include "test/reference_row_loss.h"

#include <algorithm>
#include <cmath>

namespace infonce::test {

namespace {

// Exponentials are those of logits less the largest.
struct Sums {
  double largest = -INFINITY;
  double positives = 0;  // how many
  double positive_sum = 0;
  double negative_sum = 0;
  double mean_positive = 0;  // logit

  explicit Sums(const RowCandidates &row) {
    largest = *std::max_element(row.logits.begin(), row.logits.end());
    for (size_t c = 0; c < row.logits.size(); ++c) {
      (row.positive[c] ? positive_sum : negative_sum) += std::exp(row.logits[c] - largest);
      positives += row.positive[c];
      mean_positive += row.positive[c] ? row.exact_logits[c] : 0;
    }
    mean_positive /= positives;
  }
  double exponential(double logit) const { return std::exp(logit - largest); }
};

RowOutcome cross_entropy(const RowCandidates &row, bool decoupled) {
  const Sums sums(row);
  const double sum = sums.negative_sum + (decoupled ? 0 : sums.positive_sum);
  const double weight = decoupled ? row.positive_weight : 1;
  RowOutcome outcome{std::log(sum) + sums.largest - weight * sums.mean_positive, {}};
  for (size_t c = 0; c < row.logits.size(); ++c) {
    const bool in_sum = !decoupled || !row.positive[c];
    const double probability = in_sum ? sums.exponential(row.logits[c]) / sum : 0;
    const double target = row.positive[c] ? weight / sums.positives : 0;
    // Of a row's only positive p - 1 would cancel.
    const bool cancels = row.positive[c] && (sums.positives == 1 || row.alike) && in_sum;
    outcome.slopes.push_back(cancels ? -sums.negative_sum / sum / sums.positives : probability - target);
  }
  return outcome;
}

// log (own + rest) - logit for the exponential of the logit; of exponentials beside which it is none the logarithm is.
double term(const Sums &sums, double logit, double rest) {
  const double own = sums.exponential(logit);
  return own > rest ? std::log1p(rest / own) : std::log(own + rest) + sums.largest - logit;
}

RowOutcome positive_and_negatives(const RowCandidates &row) {
  const Sums sums(row);
  RowOutcome outcome{0, std::vector<double>(row.logits.size())};
  for (size_t p = 0; p < row.logits.size(); ++p) {
    if (!row.positive[p]) {
      continue;
    }
    const double total = sums.exponential(row.exact_logits[p]) + sums.negative_sum;
    outcome.loss += term(sums, row.exact_logits[p], sums.negative_sum) / sums.positives;
    outcome.slopes[p] = -sums.negative_sum / total / sums.positives;
    for (size_t c = 0; c < row.logits.size(); ++c) {
      outcome.slopes[c] += row.positive[c] ? 0 : sums.exponential(row.logits[c]) / total / sums.positives;
    }
  }
  return outcome;
}

// The logarithm of a mean of probabilities.
RowOutcome mean_inside(const RowCandidates &row) {
  const Sums sums(row);
  double largest = -INFINITY;  // of the positives
  for (size_t c = 0; c < row.logits.size(); ++c) {
    largest = row.positive[c] ? std::max(largest, row.exact_logits[c]) : largest;
  }
  double positives = 0;
  for (size_t c = 0; c < row.logits.size(); ++c) {
    positives += row.positive[c] ? std::exp(row.exact_logits[c] - largest) : 0;
  }
  const double rest = sums.negative_sum / std::exp(largest - sums.largest) / positives;  // in sums of the positives
  const double log_rest = std::log(sums.negative_sum) + sums.largest - largest - std::log(positives);
  const double loss = log_rest < 0 ? std::log1p(rest) : log_rest + std::log1p(std::exp(-log_rest));
  RowOutcome outcome{loss + std::log(sums.positives), {}};
  for (size_t c = 0; c < row.logits.size(); ++c) {
    const double share = std::exp(row.exact_logits[c] - largest) / positives;
    const double of_rest = 1 / (1 + std::exp(-log_rest));
    const double of_negative = std::exp(row.logits[c] - sums.largest) / sums.negative_sum * of_rest;
    outcome.slopes.push_back(row.positive[c] ? -share * of_rest : of_negative);
  }
  return outcome;
}

RowOutcome debiased(const RowCandidates &row, double tau, double beta, double scale) {
  const Sums sums(row);
  const double negatives = static_cast<double>(row.logits.size()) - 1;
  const double own = sums.exponential(sums.mean_positive);
  // Harder negatives count more.
  double hard_sum = 0;
  double weights = 0;
  for (size_t c = 0; c < row.logits.size(); ++c) {
    hard_sum += row.positive[c] ? 0 : std::exp((1 + beta) * (row.logits[c] - sums.largest));
    weights += row.positive[c] ? 0 : std::exp(beta * (row.logits[c] - sums.largest));
  }
  const double sum = negatives * hard_sum / weights;
  const double estimate = (sum - tau * negatives * own) / (1 - tau);
  const double least = negatives * sums.exponential(-scale);
  const bool clamped = !(estimate > least);
  const double rest = clamped ? least : estimate;
  RowOutcome outcome{term(sums, sums.mean_positive, rest), {}};
  for (size_t c = 0; c < row.logits.size(); ++c) {
    const double one = std::exp((1 + beta) * (row.logits[c] - sums.largest)) / hard_sum;
    const double other = std::exp(beta * (row.logits[c] - sums.largest)) / weights;
    const double moving = clamped ? 0 : sum * ((1 + beta) * one - beta * other) / (1 - tau);
    const double of_positive = clamped ? rest : sum / (1 - tau);
    outcome.slopes.push_back((row.positive[c] ? -of_positive : moving) / (own + rest));
  }
  return outcome;
}

void smooth(double amount, const RowCandidates &row, RowOutcome *outcome) {
  if (amount == 0) {
    return;  // some logit may be -infinity
  }
  const auto candidates = static_cast<double>(row.logits.size());
  const auto positives = static_cast<double>(std::count(row.positive.begin(), row.positive.end(), true));
  for (size_t c = 0; c < row.logits.size(); ++c) {
    const double weight = amount * ((row.positive[c] ? 1 / positives : 0) - 1 / candidates);
    outcome->loss += weight * row.exact_logits[c];
    outcome->slopes[c] += weight;
  }
}

}  // namespace

RowOutcome row_loss_of(const infonce_softmax &rules, double scale, const RowCandidates &row) {
  if (rules.row_loss == INFONCE_ROW_LOSS_POSITIVE_AND_NEGATIVES) {
    return positive_and_negatives(row);
  }
  if (rules.row_loss == INFONCE_ROW_LOSS_MEAN_INSIDE) {
    return mean_inside(row);
  }
  if (rules.row_loss == INFONCE_ROW_LOSS_DEBIASED) {
    return debiased(row, rules.tau_plus, rules.beta, scale);
  }
  RowOutcome outcome = cross_entropy(row, rules.row_loss == INFONCE_ROW_LOSS_DECOUPLED);
  smooth(rules.label_smoothing, row, &outcome);
  return outcome;
}

}  // namespace infonce::test

#include "test/reference.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace infonce::test {

namespace {

constexpr double kSmallestNorm = 1e-12;
// Float32 cosines are this exact; those of bfloat16 are not ranked by the tests.
constexpr double kCosineError = 5e-6;
constexpr int64_t kLargestSmallClass = 17;

// To the nearest, ties to even.
float bfloat16_of(double value) {
  const auto nearest = static_cast<float>(value);
  uint32_t bits;
  std::memcpy(&bits, &nearest, sizeof(bits));
  bits = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000;
  float rounded;
  std::memcpy(&rounded, &bits, sizeof(rounded));
  return rounded;
}


// The rows of one input in use, their gradient, and the way back through the normalisation.
class Rows {
 public:
  Rows(const Buffer<float> &source, int64_t dim, bool normalize, Operands operands)
      : dim_(dim), values_(source.begin(), source.end()), gradient_(source.size()) {
    const int64_t rows = static_cast<int64_t>(source.size()) / dim;
    for (int64_t i = 0; normalize && i < rows; ++i) {
      double *row = values_.data() + i * dim;
      norms_.push_back(std::sqrt(dot(row, row)));
      for (int64_t d = 0; d < dim; ++d) {
        row[d] /= std::max(norms_.back(), kSmallestNorm);
      }
    }
    if (operands != Operands::kExact) {
      split(static_cast<int>(operands));
    }
  }

  double dot(int64_t row, const Rows &other, int64_t other_row) const {
    return dot(values_.data() + row * dim_, other.values_.data() + other_row * dim_);
  }

  double dot_of_operands(int64_t row, const Rows &other, int64_t other_row) const {
    double sum = 0;
    for (size_t a = 0; a < planes_.size(); ++a) {
      for (size_t b = 0; a + b < planes_.size(); ++b) {
        sum += dot(planes_[a].data() + row * dim_, other.planes_[b].data() + other_row * dim_);
      }
    }
    return sum;
  }

  void add(int64_t row, double weight, const Rows &other, int64_t other_row) {
    for (int64_t d = 0; d < dim_; ++d) {
      gradient_[static_cast<size_t>(row * dim_ + d)] += weight * other.values_[static_cast<size_t>(other_row * dim_ + d)];
    }
  }

  // d loss / d input, 0 for a row of zeros.
  std::vector<double> gradient() const {
    std::vector<double> result = gradient_;
    for (size_t i = 0; i < norms_.size(); ++i) {
      const double *row = values_.data() + i * dim_;
      double *out = result.data() + i * dim_;
      const double radial = norms_[i] > kSmallestNorm ? dot(row, out) : 0;
      const double inverse = norms_[i] > 0 ? 1 / std::max(norms_[i], kSmallestNorm) : 0;
      for (int64_t d = 0; d < dim_; ++d) {
        out[d] = (out[d] - radial * row[d]) * inverse;
      }
    }
    return result;
  }

 private:
  // Into bfloat16 parts, each the nearest to what the earlier ones leave.
  void split(int planes) {
    std::vector<double> rest = values_;
    for (int plane = 0; plane < planes; ++plane) {
      planes_.emplace_back();
      for (double &value : rest) {
        planes_.back().push_back(bfloat16_of(value));
        value -= planes_.back().back();
      }
    }
  }

  double dot(const double *a, const double *b) const {
    double sum = 0;
    for (int64_t d = 0; d < dim_; ++d) {
      sum += a[d] * b[d];
    }
    return sum;
  }

  int64_t dim_;
  std::vector<double> values_;
  std::vector<std::vector<double>> planes_;
  std::vector<double> gradient_;
  std::vector<double> norms_;
};

struct Candidate {
  Rows *rows;
  int64_t row;
  bool positive;
  bool exact;  // treated apart from the matrix
};

// Rows of the anchor's sample or label, itself among them.
int64_t class_size(const Case &from, int64_t anchor) {
  if (from.problem.positive == INFONCE_POSITIVE_SAME_LABEL) {
    return std::count(from.labels.begin(), from.labels.end(), from.labels[static_cast<size_t>(anchor)]);
  }
  return from.settings.views;
}

bool has_large_class(const Case &from) {
  if (from.problem.positive == INFONCE_POSITIVE_SAME_INDEX || from.problem.positive == INFONCE_POSITIVE_FIRST_VIEW) {
    return false;
  }
  for (int64_t i = 0; i < from.settings.rows; ++i) {
    if (class_size(from, i) > kLargestSmallClass) {
      return true;
    }
  }
  return false;
}

class Evaluation {
 public:
  Evaluation(const Case &from, Operands operands)
      : case_(from),
        scale_(from.problem.scale),
        exact_operands_(operands == Operands::kExact),
        anchors_(from.anchors, from.settings.dim, from.settings.normalize, operands),
        keys_(from.keys, from.settings.dim, from.settings.normalize, operands),
        negatives_(from.negatives, from.settings.dim, from.settings.normalize, operands) {}

  Reference run() {
    const int64_t n = case_.settings.rows;
    result_.row_loss.assign(static_cast<size_t>(n), 0);
    const double share = case_.problem.both_directions ? 0.5 : 1;
    for (int64_t i = 0; i < n; ++i) {
      add_row(anchors_, i, candidates_of(i), share);
    }
    for (int64_t i = 0; case_.problem.both_directions && i < n; ++i) {
      add_row(keys_, i, all_of(anchors_, i), share);
    }
    for (const double loss : result_.row_loss) {
      result_.loss += case_.settings.reduction == INFONCE_REDUCTION_MEAN ? loss / static_cast<double>(n) : loss;
    }
    for (Range *top : {&result_.top1, &result_.top5}) {
      top->least = top->least * share / static_cast<double>(n);
      top->most = top->most * share / static_cast<double>(n);
    }
    result_.grad_anchors = anchors_.gradient();
    result_.grad_keys = keys_.gradient();
    if (!case_.has_memory()) {
      result_.grad_negatives = negatives_.gradient();
    }
    return result_;
  }

 private:
  std::vector<Candidate> all_of(Rows &rows, int64_t positive) const {
    std::vector<Candidate> candidates;
    for (int64_t j = 0; j < case_.settings.rows; ++j) {
      candidates.push_back({&rows, j, j == positive, j == positive});
    }
    return candidates;
  }

  std::vector<Candidate> candidates_of(int64_t i) {
    const int64_t m = case_.problem.negative_rows;
    std::vector<Candidate> candidates;
    switch (case_.problem.denominator) {
      case INFONCE_DENOMINATOR_OTHER_ANCHORS:
        for (int64_t j = 0; j < case_.settings.rows; ++j) {
          if (j != i) {
            candidates.push_back({&anchors_, j, is_positive(i, j), is_treated_apart(i, j)});
          }
        }
        for (int64_t j = 0; j < m; ++j) {
          const int64_t label = case_.settings.rows + j;
          candidates.push_back({&negatives_, j, is_positive(i, label), is_treated_apart(i, label)});
        }
        break;
      case INFONCE_DENOMINATOR_ALL_KEYS:
        return all_of(keys_, i);
      default:
        candidates.push_back({&keys_, i, true, true});
        for (int64_t j = 0; j < m; ++j) {
          const bool own = case_.problem.denominator == INFONCE_DENOMINATOR_OWN_NEGATIVES;
          candidates.push_back({&negatives_, own ? i * m + j : j, false, own});
        }
    }
    return candidates;
  }

  bool is_positive(int64_t i, int64_t j) const {
    const int64_t samples = case_.settings.rows / case_.settings.views;
    switch (case_.problem.positive) {
      case INFONCE_POSITIVE_FIRST_VIEW:
        return i % samples == j % samples && j / samples == (i / samples == 0 ? 1 : 0);
      case INFONCE_POSITIVE_ALL_VIEWS:
        return i % samples == j % samples;
      default:
        return case_.labels[static_cast<size_t>(i)] == case_.labels[static_cast<size_t>(j)];
    }
  }

  bool is_treated_apart(int64_t i, int64_t j) const {
    if (case_.problem.positive == INFONCE_POSITIVE_FIRST_VIEW) {
      const int64_t samples = case_.settings.rows / case_.settings.views;
      return i % samples == j % samples;
    }
    return is_positive(i, j) && class_size(case_, i) <= kLargestSmallClass;
  }

  double upstream(int64_t i) const {
    const Buffer<float> &given = case_.grad_output;
    const double value = given.size() == 0 ? 1 : given[given.size() == 1 ? 0 : static_cast<size_t>(i)];
    return case_.settings.reduction == INFONCE_REDUCTION_MEAN ? value / static_cast<double>(case_.settings.rows) : value;
  }

  void add_row(Rows &owner, int64_t i, const std::vector<Candidate> &candidates, double share) {
    std::vector<double> cosines;
    std::vector<double> logits;
    double largest = -INFINITY;
    int64_t positives = 0;
    for (const Candidate &candidate : candidates) {
      cosines.push_back(owner.dot(i, *candidate.rows, candidate.row));
      const bool exact = exact_operands_ || candidate.exact;
      logits.push_back(scale_ *
                       (exact ? cosines.back() : owner.dot_of_operands(i, *candidate.rows, candidate.row)));
      largest = std::max(largest, logits.back());
      positives += candidate.positive;
    }
    if (positives == 0) {
      return;
    }
    rank(candidates, cosines);
    double sum = 0;
    double negative_sum = 0;
    double positive_logits = 0;
    for (size_t c = 0; c < candidates.size(); ++c) {
      sum += std::exp(logits[c] - largest);
      negative_sum += candidates[c].positive ? 0 : std::exp(logits[c] - largest);
      positive_logits += candidates[c].positive ? scale_ * cosines[c] : 0;
    }
    result_.row_loss[static_cast<size_t>(i)] +=
        share * (std::log(sum) + largest - positive_logits / static_cast<double>(positives));
    for (size_t c = 0; c < candidates.size(); ++c) {
      const double probability = std::exp(logits[c] - largest) / sum;
      const double target = candidates[c].positive ? 1 / static_cast<double>(positives) : 0;
      // Of a row's only positive p - 1 would cancel.
      const double excess = candidates[c].positive && positives == 1 ? -negative_sum / sum : probability - target;
      const double weight = share * upstream(i) * excess;
      owner.add(i, weight * scale_, *candidates[c].rows, candidates[c].row);
      candidates[c].rows->add(candidates[c].row, weight * scale_, owner, i);
      result_.grad_scale += weight * cosines[c];
      result_.grad_scale_size += std::abs(weight * cosines[c]);
    }
  }

  // Counts the row in top1 and top5 if fewer than 1 or 5 logits exceed that of its first positive.
  void rank(const std::vector<Candidate> &candidates, const std::vector<double> &cosines) {
    const auto first = std::find_if(candidates.begin(), candidates.end(), [](auto &c) { return c.positive; });
    const double own = cosines[static_cast<size_t>(first - candidates.begin())];
    int64_t surely_above = 0;
    int64_t perhaps_above = -1;
    for (const double cosine : cosines) {
      surely_above += cosine - own > kCosineError;
      perhaps_above += cosine - own > -kCosineError;
    }
    result_.top1.least += perhaps_above < 1;
    result_.top1.most += surely_above < 1;
    result_.top5.least += perhaps_above < 5;
    result_.top5.most += surely_above < 5;
  }

  const Case &case_;
  double scale_;
  bool exact_operands_;
  Rows anchors_;
  Rows keys_;
  Rows negatives_;
  Reference result_;
};

}  // namespace

Reference reference(const Case &from, Operands operands) {
  const bool promoted = operands != Operands::kExact && has_large_class(from);
  return Evaluation(from, promoted ? static_cast<Operands>(static_cast<int>(operands) + 1) : operands).run();
}

}  // namespace infonce::test

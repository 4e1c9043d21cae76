#include "test/reference.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "test/reference_row_loss.h"

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

// The rows of one matrix in use, their gradient, and the way back through the normalisation.
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

  // What nobody may read becomes a row of zeros.
  void clear(int64_t row) {
    std::fill_n(values_.begin() + row * dim_, dim_, 0.0);
    if (!norms_.empty()) {
      norms_[static_cast<size_t>(row)] = 0;
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
      gradient_[static_cast<size_t>(row * dim_ + d)] +=
          weight * other.values_[static_cast<size_t>(other_row * dim_ + d)];
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

// Rows of the anchor's sample or class, itself among them; 1 where all of them are treated apart, however many.
int64_t class_size(const infonce_problem &problem, int64_t anchor) {
  const infonce_softmax &softmax = problem.softmaxes[0];
  if (softmax.row_loss == INFONCE_ROW_LOSS_POSITIVE_AND_NEGATIVES || softmax.row_loss == INFONCE_ROW_LOSS_MEAN_INSIDE) {
    return 1;
  }
  const infonce_matrix &anchors = problem.matrices[softmax.anchors];
  if (softmax.positive == INFONCE_POSITIVE_ALL_VIEWS) {
    return anchors.views;
  }
  if (softmax.positive != INFONCE_POSITIVE_SAME_ID) {
    return 1;
  }
  int64_t size = 0;
  for (int m = 0; m < problem.matrix_count; ++m) {
    const infonce_matrix &matrix = problem.matrices[m];
    size +=
        softmax.positive_matrices >> m & 1 ? std::count(matrix.ids, matrix.ids + matrix.rows, anchors.ids[anchor]) : 0;
  }
  return size;
}

bool has_large_class(const infonce_problem &problem) {
  for (int64_t i = 0; i < row_count(problem); ++i) {
    if (class_size(problem, i) > kLargestSmallClass) {
      return true;
    }
  }
  return false;
}

struct Candidate {
  int owner;  // the matrix whose row i meets it: the anchors', or that of the positives
  int matrix;
  int64_t row;
  bool positive;
  bool exact;      // treated apart from the matrix
  bool further;    // a positive by id beside the one by index, which ranks do not count
  double stretch;  // of its logit
};

class Evaluation {
 public:
  Evaluation(const Inputs &from, Operands operands) : inputs_(from), problem_(from.problem), operands_(operands) {
    for (int m = 0; m < problem_.matrix_count; ++m) {
      rows_.emplace_back(from.matrices[m], problem_.dim, problem_.normalize, operands);
      if (problem_.guide_dim > 0) {
        guides_.emplace_back(from.guides[m], problem_.guide_dim, true, Operands::kExact);
      }
      const infonce_matrix &matrix = problem_.matrices[m];
      const int64_t each = matrix.rows / row_count(problem_);
      for (int64_t j = 0; matrix.counts != nullptr && j < matrix.rows; ++j) {
        if (j % each >= matrix.counts[j / each]) {
          rows_.back().clear(j);
        }
      }
    }
  }

  Reference run() {
    const int64_t n = row_count(problem_);
    result_.row_loss.assign(static_cast<size_t>(n), 0);
    for (int s = 0; s < problem_.softmax_count; ++s) {
      result_.rows.emplace_back();
      weigh_positives(s);
      for (int64_t i = 0; i < problem_.matrices[problem_.softmaxes[s].anchors].rows; ++i) {
        add_row(problem_.softmaxes[s], i, candidates_of(s, i));
      }
    }
    for (const double loss : result_.row_loss) {
      result_.loss += problem_.reduction == INFONCE_REDUCTION_MEAN ? loss / static_cast<double>(n) : loss;
    }
    for (Range *top : {&result_.top1, &result_.top5}) {
      top->least /= static_cast<double>(n);
      top->most /= static_cast<double>(n);
    }
    for (const Rows &rows : rows_) {
      result_.gradients.push_back(rows.gradient());
    }
    return result_;
  }

 private:
  // What the softmax's blocks bring row i, then those of its positives that they do not.
  std::vector<Candidate> candidates_of(int softmax, int64_t i) const {
    const infonce_softmax &rules = problem_.softmaxes[softmax];
    std::vector<Candidate> candidates;
    std::vector<bool> is_candidate(static_cast<size_t>(problem_.matrix_count));
    const auto add = [&](int owner, int matrix, int64_t row, bool left_out, bool own, double stretch,
                         bool same_id = false) {
      const bool of_anchor = owner == rules.anchors;
      const bool from_positive = !of_anchor && matrix == rules.anchors;
      const bool by_rule = of_anchor ? is_positive(rules, i, matrix, row) : from_positive && i == row;
      const float *bias = problem_.matrices[matrix].bias;
      const bool further = same_id && !by_rule && !(bias && std::isinf(bias[row]));
      const bool positive = by_rule || further;
      if (of_anchor || from_positive) {
        is_candidate[static_cast<size_t>(of_anchor ? matrix : owner)] = true;
      }
      if (positive || !left_out) {
        const bool exact = own || further || (of_anchor ? is_treated_apart(rules, i, matrix, row) : positive);
        candidates.push_back({owner, matrix, row, positive, exact, further, positive ? 0 : stretch});
      }
    };
    for (int b = 0; b < problem_.block_count; ++b) {
      const infonce_block &block = problem_.blocks[b];
      const int64_t columns = problem_.matrices[block.candidates].rows;
      const bool alone = block.own == INFONCE_OWN_ALONE;
      const int64_t share = alone ? columns / problem_.matrices[block.anchors].rows : columns;
      const int64_t first = alone ? i * share : 0;
      const int32_t *counts = problem_.matrices[block.candidates].counts;
      const int64_t end = first + (alone && counts ? counts[i] : share);
      for (int64_t j = first; block.row_softmax == softmax && j < end; ++j) {
        const bool among = block.own == INFONCE_OWN_AMONG && j % row_count(problem_) == i;
        const double stretch = among ? block.own_stretch : block.stretch;
        add(block.anchors, block.candidates, j, is_left_out(block, i, j), alone || among, stretch,
            is_further(block, i, j));
      }
      const bool columns_too = block.column_softmax == softmax && block.anchors != block.candidates;
      for (int64_t j = 0; columns_too && j < problem_.matrices[block.anchors].rows; ++j) {
        add(block.candidates, block.anchors, j, is_left_out(block, j, i), false, block.stretch,
            is_further(block, j, i));
      }
    }
    for (int m = 0; m < problem_.matrix_count; ++m) {
      const bool has_more = !is_candidate[static_cast<size_t>(m)] && (rules.positive_matrices >> m & 1);
      for (int64_t j = 0; has_more && j < problem_.matrices[m].rows; ++j) {
        add(rules.anchors, m, j, true, false, 0);
      }
    }
    return candidates;
  }

  // By the dot products of all rows with their first positives.
  void weigh_positives(int softmax) {
    const infonce_softmax &rules = problem_.softmaxes[softmax];
    weights_.clear();
    for (int64_t i = 0; rules.mises_fisher_sigma != 0 && i < row_count(problem_); ++i) {
      const std::vector<Candidate> candidates = candidates_of(softmax, i);
      const auto first = std::find_if(candidates.begin(), candidates.end(), [](auto &c) { return c.positive; });
      weights_.push_back(rows_[rules.anchors].dot(i, rows_[first->matrix], first->row) / rules.mises_fisher_sigma);
    }
    if (weights_.empty()) {
      return;
    }
    const double largest = *std::max_element(weights_.begin(), weights_.end());
    double sum = 0;
    for (double &weight : weights_) {
      weight = std::exp(weight - largest);
      sum += weight;
    }
    for (double &weight : weights_) {
      weight = 2 - static_cast<double>(row_count(problem_)) * weight / sum;
    }
  }

  bool is_left_out(const infonce_block &block, int64_t row, int64_t column) const {
    const bool same_row = (block.left_out & INFONCE_LEAVE_OUT_SAME_ROW) && row == column;
    const bool own = (block.left_out & INFONCE_LEAVE_OUT_OWN) && column % row_count(problem_) == row;
    constexpr uint32_t kById = INFONCE_LEAVE_OUT_SAME_ID | INFONCE_LEAVE_OUT_SAME_ID_POSITIVE;
    return same_row || own || is_above_threshold(block, row, column) ||
           ((block.left_out & kById) && have_same_id(block, row, column));
  }

  bool is_further(const infonce_block &block, int64_t row, int64_t column) const {
    return (block.left_out & INFONCE_LEAVE_OUT_SAME_ID_POSITIVE) && have_same_id(block, row, column);
  }

  bool have_same_id(const infonce_block &block, int64_t row, int64_t column) const {
    return problem_.matrices[block.anchors].ids[row] == problem_.matrices[block.candidates].ids[column];
  }

  bool is_above_threshold(const infonce_block &block, int64_t row, int64_t column) const {
    if (block.threshold == INFONCE_THRESHOLD_NONE) {
      return false;
    }
    const infonce_softmax &rules = problem_.softmaxes[0];
    const std::vector<Rows> &rows = block.by_guide ? guides_ : rows_;
    const int64_t positive = rules.positive == INFONCE_POSITIVE_TARGET ? rules.targets[row] : row;
    int keys = 0;
    while (!(rules.positive_matrices >> keys & 1)) {
      ++keys;
    }
    const double own = rows[block.anchors].dot(row, rows[keys], positive);
    const double slack =
        block.threshold == INFONCE_THRESHOLD_RELATIVE ? std::abs(own) * block.threshold_margin : block.threshold_margin;
    return rows[block.anchors].dot(row, rows[block.candidates], column) > own - slack;
  }

  bool is_positive(const infonce_softmax &rules, int64_t i, int matrix, int64_t j) const {
    if (!(rules.positive_matrices >> matrix & 1) || (matrix == rules.anchors && i == j)) {
      return false;
    }
    const int64_t samples = samples_of(rules);
    switch (rules.positive) {
      case INFONCE_POSITIVE_FIRST_VIEW:
        return i % samples == j % samples && j / samples == (i / samples == 0 ? 1 : 0);
      case INFONCE_POSITIVE_ALL_VIEWS:
        return i % samples == j % samples;
      case INFONCE_POSITIVE_SAME_ID:
        return problem_.matrices[rules.anchors].ids[i] == problem_.matrices[matrix].ids[j];
      case INFONCE_POSITIVE_TARGET:
        return rules.targets[i] == j;
      default:
        return i == j;
    }
  }

  int64_t samples_of(const infonce_softmax &rules) const {
    const infonce_matrix &anchors = problem_.matrices[rules.anchors];
    return anchors.rows / anchors.views;
  }

  bool is_treated_apart(const infonce_softmax &rules, int64_t i, int matrix, int64_t j) const {
    if (rules.positive == INFONCE_POSITIVE_FIRST_VIEW) {
      return matrix == rules.anchors && i % samples_of(rules) == j % samples_of(rules);
    }
    return is_positive(rules, i, matrix, j) && class_size(problem_, i) <= kLargestSmallClass;
  }

  double upstream(int64_t i) const {
    const Buffer<float> &given = inputs_.grad_output;
    const double value = given.size() == 0 ? 1 : given[given.size() == 1 ? 0 : static_cast<size_t>(i)];
    const bool mean = problem_.reduction == INFONCE_REDUCTION_MEAN;
    return mean ? value / static_cast<double>(row_count(problem_)) : value;
  }

  double bias_of(const Candidate &candidate) const {
    const float *bias = problem_.matrices[candidate.matrix].bias;
    return bias ? bias[candidate.row] : 0;
  }

  void add_row(const infonce_softmax &rules, int64_t i, const std::vector<Candidate> &candidates) {
    RowCandidates row;
    row.alike = rules.positive == INFONCE_POSITIVE_SAME_INDEX &&
                std::none_of(candidates.begin(), candidates.end(), [](auto &c) { return c.further; });
    std::vector<double> cosines;
    for (const Candidate &candidate : candidates) {
      const Rows &owner = rows_[candidate.owner];
      const Rows &other = rows_[candidate.matrix];
      const double bias = bias_of(candidate);
      const double margin = candidate.positive ? rules.margin : 0;
      const bool exact = operands_ == Operands::kExact || candidate.exact;
      cosines.push_back(owner.dot(i, other, candidate.row) - margin);
      row.positive.push_back(candidate.positive);
      row.exact_logits.push_back(problem_.scale * cosines.back() + bias);
      const double dot = exact ? cosines.back() : owner.dot_of_operands(i, other, candidate.row) - margin;
      row.logits.push_back((problem_.scale + candidate.stretch) * dot + bias);
    }
    RowReference &rows = result_.rows.back();
    if (std::find(row.positive.begin(), row.positive.end(), true) == row.positive.end()) {
      rows.loss.push_back(0);
      rows.above.push_back({-1, -1});
      return;
    }
    rank(rules, candidates, row.exact_logits);
    row.positive_weight = weights_.empty() ? 1 : weights_[static_cast<size_t>(i)];
    const RowOutcome outcome = row_loss_of(rules, problem_.scale, row);
    rows.loss.push_back(outcome.loss);
    result_.row_loss[static_cast<size_t>(i)] += rules.weight * outcome.loss;
    for (size_t c = 0; c < candidates.size(); ++c) {
      const double weight = rules.weight * upstream(i) * outcome.slopes[c];
      Rows &owner = rows_[candidates[c].owner];
      Rows &other = rows_[candidates[c].matrix];
      owner.add(i, weight * problem_.scale, other, candidates[c].row);
      other.add(candidates[c].row, weight * problem_.scale, owner, i);
      result_.grad_scale += weight * cosines[c];
      result_.grad_scale_size += std::abs(weight * cosines[c]);
    }
  }

  // Counts the logits above that of the row's first positive, and the row in top1 and top5 if there are fewer than 1 or
  // 5 of them.
  void rank(const infonce_softmax &rules, const std::vector<Candidate> &candidates, const std::vector<double> &logits) {
    const auto first =
        std::find_if(candidates.begin(), candidates.end(), [](auto &c) { return c.positive && !c.further; });
    const double own = logits[static_cast<size_t>(first - candidates.begin())];
    int64_t surely_above = 0;
    const bool has_positives = rules.row_loss == INFONCE_ROW_LOSS_CROSS_ENTROPY ||
                               rules.row_loss == INFONCE_ROW_LOSS_DEBIASED ||
                               rules.row_loss == INFONCE_ROW_LOSS_MEAN_INSIDE;
    // Without the positive itself, as often as it is there.
    const auto copies =
        std::count_if(candidates.begin(), candidates.end(), [](auto &c) { return c.positive && !c.further; });
    int64_t perhaps_above = has_positives ? -(rules.positive == INFONCE_POSITIVE_SAME_INDEX ? copies : 1) : 0;
    for (size_t c = 0; c < candidates.size(); ++c) {
      if (candidates[c].further || (candidates[c].positive && !has_positives)) {
        continue;
      }
      const double error = kCosineError * (problem_.scale + std::abs(bias_of(candidates[c])));
      surely_above += logits[c] - own > error;
      perhaps_above += logits[c] - own > -error;
    }
    result_.rows.back().above.push_back({static_cast<double>(surely_above), static_cast<double>(perhaps_above)});
    result_.top1.least += rules.weight * (perhaps_above < 1);
    result_.top1.most += rules.weight * (surely_above < 1);
    result_.top5.least += rules.weight * (perhaps_above < 5);
    result_.top5.most += rules.weight * (surely_above < 5);
  }

  const Inputs &inputs_;
  const infonce_problem &problem_;
  Operands operands_;
  std::vector<Rows> rows_;
  std::vector<double> weights_;  // of positives, by row; empty: 1 each
  std::vector<Rows> guides_;     // empty: there are none
  Reference result_;
};

}  // namespace

Reference reference(const Inputs &from, Operands operands) {
  const bool promoted = operands != Operands::kExact && has_large_class(from.problem);
  return Evaluation(from, promoted ? static_cast<Operands>(static_cast<int>(operands) + 1) : operands).run();
}

}  // namespace infonce::test

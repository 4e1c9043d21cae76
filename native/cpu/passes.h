// The passes over rows that all schemes share: they rank the positives, complete losses and finish gradients. Templated
// on the scalar, as the operands.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "common/row_loss.h"
#include "cpu/operands.h"
#include "cpu/own_candidates.h"
#include "cpu/pairs.h"
#include "cpu/thresholds.h"
#include "infonce/infonce.h"

namespace infonce::cpu {

// d loss / d (row loss), split into its largest size and what is left of it, which stays near 1 in float32.
struct Upstream {
  const float *rows = nullptr;          // one each, or null: all the same
  const double *of_visitors = nullptr;  // in their place, where losses are elsewhere: relative to the largest
  double largest = 1;
  double sign_of_all = 1;

  double relative(int64_t i) const {
    if (of_visitors) return of_visitors[i];
    return rows ? (largest_row > 0 ? rows[i] / largest_row : 0) : sign_of_all;
  }
  double largest_row = 1;
};
// `shared`: rows with upstream gradients of other calls are to come, so that the largest size is not 0.
Upstream upstream_of(const infonce_problem &problem, bool shared = false);

// The rows of a softmax.
template <class Scalar> struct SoftmaxRows {
  Scalar *rank = nullptr;    // dot product with the first positive; +inf without one; with `above`, if ranks are wanted
  double *sum = nullptr;     // matrix part of the denominator: sum * e^offset
  double *offset = nullptr;  // float64 scheme; the panel scheme has one for all
  double *above = nullptr;   // candidates above the positive
  Scalar *weight = nullptr;  // of the stored exponentials (panel) or of the probabilities (float64), times upstream
  Scalar *target = nullptr;  // 1 / positives for rows of a large class, times upstream; else 0
  double *log_sum_exp = nullptr;
  double *rest_share = nullptr;
  double *loss = nullptr;
  double *slope = nullptr;      // of the sigmoid loss: the sum of its derivatives by the row's logits
  double *logit_sum = nullptr;  // with label smoothing in parts: of candidates in parts and elsewhere

  void take(Workspace::Cursor &cursor, int64_t padded_rows, bool ranks, bool sigmoid, bool logits) {
    rank = cursor.take<Scalar>(ranks ? padded_rows : 0);
    sum = cursor.take<double>(padded_rows);
    offset = cursor.take<double>(padded_rows);
    above = cursor.take<double>(ranks ? padded_rows : 0);
    weight = cursor.take<Scalar>(padded_rows);
    target = cursor.take<Scalar>(padded_rows);
    log_sum_exp = cursor.take<double>(padded_rows);
    rest_share = cursor.take<double>(padded_rows);
    loss = cursor.take<double>(padded_rows);
    slope = cursor.take<double>(sigmoid ? padded_rows : 0);
    logit_sum = logits ? cursor.take<double>(padded_rows) : nullptr;
  }
};

// One side of a block. Arrays are by row of its matrix, padded.
template <class Scalar> struct Side {
  int matrix = kNone;  // or kPart
  int64_t rows = 0, padded_rows = 0;
  const int32_t *groups = nullptr;               // as in Pairs
  const int32_t *ids = nullptr;                  // null: no pair is left out by them
  const int32_t *large_classes = nullptr;        // null: there are none
  const Scalar *targets = nullptr;               // of rows of large classes; null: the softmax's
  const Scalar *bias = nullptr;                  // over the scale; null: none
  const SoftmaxRows<Scalar> *softmax = nullptr;  // null: its rows have no loss
};

template <class Scalar> struct Block {
  Side<Scalar> rows, columns;
  int index;                  // in the problem
  bool is_triangle;           // of a matrix and itself: each pair once
  double scale;               // of its logits
  bool holds_own = false;     // columns are of the groups of the rows whose own they are
  bool by_threshold = false;  // pairs above their row's threshold are left out
  int64_t first_number = -1;  // of columns of which each row leaves out one by its number; -1: it does not
};

template <class Scalar> class Passes {
 public:
  Passes(const Request &request, const Kernels &kernels, const Pairs &pairs, ThreadPool &pool);

  // Carves the operands and the statistics.
  void take_kept(Workspace::Cursor &cursor, bool bfloat16);
  // Further scratch memory, and the part that was taken up.
  void take_scratch(Workspace::Cursor &cursor, bool bfloat16) {
    operands_.take_scratch(cursor, bfloat16, part_ ? part_->given : nullptr);
    own_.take_scratch(cursor);
    if (thresholds_) thresholds_->take_scratch(cursor, bfloat16, part_ ? part_->given : nullptr);
  }

  BadRow prepare();
  // A part must stay until it has been prepared; null: none.
  void take_up(const infonce_part *part);
  BadRow prepare_part() {
    const int matrix = problem_.blocks[part_->given->block].candidates;
    const BadRow bad = operands_.prepare_part(*part_->given, matrix);
    if (bad.row < 0) find_large_classes_of_part();
    return bad.row >= 0 || !thresholds_ ? bad : thresholds_->prepare_part(*part_->given, matrix);
  }
  double largest_logit() const;

  // Of the problem: triangles first.
  const std::vector<Block<Scalar>> &blocks() const { return blocks_; }
  // The anchors and the part; null: none.
  const Block<Scalar> *part() const { return part_ ? &part_->block : nullptr; }
  const Layout &layout() const { return layout_; }
  int64_t padded_dim() const { return operands_.padded_dim(); }
  const Operand<Scalar> &operand(int matrix, int thread) { return operands_.at(matrix, thread); }
  Thresholds<Scalar> *thresholds() { return thresholds_.get(); }  // null: there are none
  bool has_guides() const { return thresholds_ && thresholds_->by_guide(); }

  // Of the part's columns, where they have a loss elsewhere: sums that begin with this offset, and end with what travels
  // with them. For the gradient, weights of exponentials that are stored with this shift, or of probabilities.
  void begin_column_sums(double offset);
  void end_column_sums();
  void weigh_columns(double shift);
  // And what positives of large classes weigh.
  void weigh_large_classes_of_part();
  // What anchors and the part's positives of theirs give each other. For the gradient: of anchors first ... first + count,
  // or of rows of the part.
  void meet_positives();
  // The terms that they have of their own, when the sums over negatives are complete.
  void meet_terms();
  bool adds_terms() const { return part_->given->terms != 0; }
  bool part_has_positives() const { return part_ && part_->has_positives; }
  void add_met_positives(bool of_anchors, int64_t first, int64_t count, Scalar *accumulators, int64_t accumulator_rows,
                         int thread);
  // What an anchor and a positive in the part weigh for each other.
  template <int32_t kRowLoss> double met_weight(int64_t i, int64_t j, double logit) const;
  // What label smoothing needs of the part: its share of the sums of logits, or what its gradients are made of, which
  // `add_smoothing_of_part` adds to those of anchors first ... first + count or of rows of the part.
  void smooth_part();
  void begin_smoothing_of_part();
  void add_smoothing_of_part(bool of_anchors, int64_t first, int64_t count, Scalar *accumulators,
                             int64_t accumulator_rows);
  bool smooths_part() const { return part_ && smoothing() != 0; }
  // Of the softmax's own rows, which are columns elsewhere.
  void read_rows(int softmax, const infonce_travelling_rows &to) const;
  void join_rows(int softmax, const infonce_travelling_rows &from);
  // In place of what the rows are here, where their losses are elsewhere.
  void take_ranks(const infonce_travelling_rows &from);
  void take_weights(const infonce_travelling_rows &from);

  void rank();
  void sum_large_classes();
  // What label smoothing needs of all rows. Nothing without it.
  void sum_smoothed();
  // The weights of positives, which need all of their logits. Nothing without them.
  void weigh_positives();
  // Whether the rows of a large class lie so close together that their gradient is lost in float32: as the class
  // contracts, p - 1 / positives cancels for every one of its pairs.
  bool has_tight_class() const;
  // Reads sum, offset and above of the softmaxes; writes loss, weight, log_sum_exp, rest_share. All rows, or some.
  void losses();
  void losses(int64_t first, int64_t count, int thread);
  void write_losses(infonce_result *result) const;
  // Before the gradients of a call: where `finish` writes those of candidates that anchors have of their own.
  void begin_gradients(const infonce_result &result) {
    if (own_candidates_of(problem_) != kNone)
      own_.write_gradient_to(result.gradients[own_candidates_of(problem_)].data);
  }
  // Weights anew for the problem's present upstream gradient.
  void resume();

  // A triangle's logits stand on both sides in the anchors' gradient, from which d loss / d scale is summed up, all
  // others once. So those come first and are counted apart.
  bool counts_apart(bool has_parts) const {
    const bool has_others = blocks_.size() > 1 || layout_.elsewhere() != kNone || has_parts;
    return has_triangle() && has_others && !counts_all_;
  }
  // Where logits have no anchor, d loss / d scale is summed up from the gradients of all matrices, in which each logit
  // stands on both sides.
  bool counts_all() const { return counts_all_; }
  // Likewise a part that the anchors do not meet, and of all parts their own side: from their gradients, so often.
  bool counts_part() const { return part_ && (counts_all_ || part_->block.rows.matrix != layout_.anchors()); }
  // Bits by matrix: the anchors, and what else meets parts.
  uint32_t rows_of_parts() const;
  double weight_of_parts() const { return has_triangle() && !counts_all_ ? 2 : 1; }
  // For anchors whose accumulators hold what all blocks but the triangle bring: adds that of the pairs elsewhere. Returns
  // the sum of <u, d loss / d u> so far.
  double count_apart(int64_t first, int64_t count, Scalar *accumulators, int64_t accumulator_rows, int thread);
  // Adds the (other) pairs' share to the accumulated gradient of rows first ... first + count and writes them to
  // `gradient`, if it is there. Returns the sum of <u, d loss / d u>.
  double finish(int matrix, bool counted_apart, int64_t first, int64_t count, Scalar *accumulators,
                int64_t accumulator_rows, float *gradient, int thread);
  // Of the sigmoid loss.
  double grad_bias() const;
  // d loss / d scale from the anchors' sums, or from all.
  double grad_scale(double sum, double sum_apart) const {
    const double of_dots = (sum + sum_apart) / problem_.scale / (has_triangle() || counts_all_ ? 2 : 1);
    return margin() == 0 ? of_dots : of_dots + grad_scale_of_margin();
  }

  SoftmaxRows<Scalar> softmaxes[INFONCE_MOST_SOFTMAXES];
  int softmax_count() const { return problem_.softmax_count; }
  // Of logits times beta, where harder negatives count more; null: they do not, or the side's rows have no loss.
  SoftmaxRows<Scalar> *weights_of_negatives() { return beta() == 0 ? nullptr : &softmaxes[1]; }
  const SoftmaxRows<Scalar> *weights_of_negatives(const Side<Scalar> &side) const {
    if (beta() == 0 || !side.softmax) return nullptr;
    return side.matrix == kPart ? &part_->weights : &softmaxes[1];
  }
  double beta() const { return problem_.softmaxes[0].beta; }
  // Of every softmax.
  int64_t rows() const { return layout_.rows(layout_.anchors()); }
  int64_t padded_rows() const { return layout_.padded_rows(layout_.anchors()); }

 private:
  bool has_triangle() const { return blocks_[0].is_triangle; }
  double along(int matrix, int64_t first, int64_t count, Scalar *accumulators, int64_t accumulator_rows, int thread);
  int32_t row_loss() const { return problem_.softmaxes[0].row_loss; }  // of every softmax
  void add_block(int index);
  void ranking_dots(int64_t first, int64_t count, const int64_t *partners, Scalar *dots, int thread);
  void rank_rows(int64_t first, int64_t count, int thread);
  void rank_by_first_elsewhere(int64_t first, int64_t count, int thread);
  bool has_first_positive(int64_t i) const {
    return pairs_.first_positives()[i] >= 0 || (!first_elsewhere_.empty() && first_elsewhere_[i] >= 0);
  }
  double logit(int64_t i, int64_t j, int thread);
  double logit_of_any(int64_t i, int64_t j, int thread);
  double dot_with_class(int64_t i, int64_t large_class, int thread);
  template <class Row> void add_pairs_to_loss(int64_t i, Row *row, int thread, bool own, const double *only_logit);
  bool only_logits(int64_t first, int64_t count, double *logits, int thread);
  template <class Visit> void for_each_further(int softmax, int64_t i, Visit &&visit) const;
  // Beside the one by index. Those of parts included, as in the count of others.
  int64_t further_count(int softmax, int64_t i) const;
  int64_t positive_count(int64_t i) const {
    const int64_t own = pairs_.positive_count(i);
    return has_classes_ && i < rows() ? own + met_count(0, i) : own;
  }
  int64_t all_positives(int softmax, int64_t i) const { return positive_count(i) + further_count(softmax, i); }
  int64_t met_count(int softmax, int64_t i) const { return met_[softmax].empty() ? 0 : met_[softmax][i].count; }
  // Rows of one side whose ids are a row's of the other, [from, to).
  using RowOfId = std::pair<int32_t, int32_t>;
  struct OfId {
    const RowOfId *from, *to;
  };
  OfId met_by(bool of_anchors, int64_t row) const;
  bool is_met(int64_t i) const { return part_->block.rows.groups[i] >= 0; }
  template <class Visit> void for_each_met(bool of_anchors, int64_t row, Visit &&visit) const;
  // Of a part: classes of which so many pairs meet that sums over their rows cost less.
  void find_large_classes_of_part();
  void sum_class_of_part(int64_t large_class);
  bool is_tight_in_part(int64_t large_class) const;
  bool is_tight(double members, double square_of_sum, double squares) const;
  void add_large_class_of_part(bool of_anchors, int64_t row, Scalar *accumulators, int64_t accumulator_rows);
  // Whether their pairs are in the matrix part, from which the gradient takes them off.
  bool large_classes_are_taken_off() const { return sizeof(Scalar) == sizeof(float) && has_positives(row_loss()); }
  double met_logit(int64_t i, int64_t j, int thread);
  static double log_sum_of(const SoftmaxRows<Scalar> &rows, int64_t i) {
    return rows.sum[i] > 0 ? rows.offset[i] + std::log(rows.sum[i]) : -std::numeric_limits<double>::infinity();
  }
  void rank_met(bool of_anchors, int64_t first, int thread);
  void sigmoid_losses(int64_t first, int64_t count);
  void hard_losses(int64_t first, int64_t count, int thread);
  // Of at most kPassRows rows.
  template <int32_t kRowLoss> void losses_of(int softmax, int64_t first, int64_t count, int thread);
  template <int32_t kRowLoss> double pair_weight(int64_t i, int64_t j, bool is_positive, double logit) const;
  double weight_of_only_positive(int64_t i) const;
  double margin() const { return problem_.softmaxes[0].margin; }  // of every softmax
  double grad_scale_of_margin() const;
  double sigma() const { return problem_.softmaxes[0].mises_fisher_sigma; }
  double smoothing() const { return problem_.softmaxes[0].label_smoothing; }  // of every softmax
  void smooth(int softmax, int64_t i, double positive_logit, int thread);
  // Sums over some rows of a matrix; `weight` of each for the second one.
  struct RowSums {
    double *plain, *weighted;  // [dim]
  };
  template <class Weight>
  void sum_rows(int matrix, int64_t panel, int64_t first, int64_t end, const RowSums &sums, Weight &&weight,
                int thread);
  double dot_with_sum(const Operand<Scalar> &rows, int64_t i, const double *sum) const;
  void sum_part();
  enum class Partners { kElsewhere, kAmongAnchors };
  void add_pairs(int64_t first, int64_t count, Partners partners, Scalar *accumulators, int64_t accumulator_rows,
                 int thread);
  template <int32_t kRowLoss>
  void add_pairs_of(int64_t i, Partners partners, Scalar *accumulators, int64_t accumulator_rows, int thread);
  template <int32_t kRowLoss> void add_own_of(int64_t i, Scalar *accumulators, int64_t accumulator_rows, int thread);
  template <int32_t kRowLoss> double own_weight(int64_t i, double logit) const;
  void add_anchors_to_own(int64_t first, int64_t count, Scalar *accumulators, int64_t accumulator_rows, int thread);
  void add_large_class(int64_t i, Partners partners, Scalar *accumulators, int64_t accumulator_rows, int thread);
  double weight_of_further(int64_t i, int64_t j, int thread);
  void add_further(int matrix, int64_t first, int64_t count, Scalar *accumulators, int64_t accumulator_rows,
                   int thread);
  void add_smoothing(int matrix, Partners partners, int64_t first, int64_t count, Scalar *accumulators,
                     int64_t accumulator_rows, int thread);

  const infonce_problem &problem_;
  const Layout layout_;
  const ScalarKernels<Scalar> &kernels_;
  const Pairs &pairs_;
  ThreadPool &pool_;
  const bool has_classes_;  // positives are anchors
  const bool counts_all_;
  const bool in_parts_;
  const bool travels_;  // rows are columns elsewhere, and those of others are here
  bool in_bfloat16_ = false;
  Operands<Scalar> operands_;
  OwnCandidates own_;
  std::unique_ptr<Thresholds<Scalar>> thresholds_;
  Upstream upstream_;
  std::vector<double> weights_of_visitors_;
  Scalar *bias_ = nullptr;  // by row of the layout
  std::vector<Block<Scalar>> blocks_;
  // Positives of a row in parts.
  struct Met {
    int64_t count = 0;
    double sum = 0, log_sum = -std::numeric_limits<double>::infinity();
    PositiveTerms terms;

    void add(int64_t number, double logits, double log_sum_exp);
  };
  void meet_large_class(bool of_anchors, int64_t row, Met *met, int thread);
  struct ColumnSums {
    std::vector<Scalar> weight;
    std::vector<double> sum, offset, log_sum_exp;
  };
  struct Columns : ColumnSums {
    std::vector<Scalar> rank;
    std::vector<double> above;
    ColumnSums weights;  // of logits times beta
  };
  static void begin(double offset, int64_t padded_rows, ColumnSums *sums, SoftmaxRows<Scalar> *rows);
  void end(const ColumnSums &sums, double *log_sum) const;
  static void join(double log_sum, int64_t i, SoftmaxRows<Scalar> *rows);
  // Of one side of a part's large classes: its rows, and sums over those of each class.
  struct LargeClasses {
    std::vector<int32_t> class_of;        // by row, padded with -1
    std::vector<int32_t> rows, start;     // rows by class, ascending, and where those of each class begin
    std::vector<double> plain, weighted;  // [classes, dim]: of the unit rows, of those times their targets
    std::vector<double> squares;          // of their lengths
    std::vector<Scalar> targets;          // by row, padded with 0

    bool exist() const { return !class_of.empty(); }
    int64_t count(int64_t c) const { return start[c + 1] - start[c]; }
  };
  struct Part {
    const infonce_part *given;
    Block<Scalar> block;
    bool has_positives = false;  // of the anchors, by id
    std::vector<int32_t> groups, ids, anchor_groups;
    std::vector<int32_t> ids_of_pairs;  // by which pairs are left out, where some of large classes are not
    std::vector<RowOfId> by_id;         // where they may be positives, ascending
    std::vector<Scalar> bias;
    Columns columns;  // where they have a loss elsewhere
    SoftmaxRows<Scalar> softmax, weights;
    int row_softmax = 0, column_softmax = kNone;
    int64_t first_anchor = 0, end_anchor = 0;  // that it meets
    LargeClasses anchors_of_classes, rows_of_classes;
    std::vector<double> sums, sums_of_anchors;  // with label smoothing: plain and weighted, [2, dim]
  };
  std::unique_ptr<Part> part_;
  // Sums over a large class: of the unit rows, of those in the memory, of the anchors times their upstream gradient, of
  // the squared lengths, of the biases.
  struct ClassSums {
    double *plain, *memory, *weighted;  // [dim]
    double *squares, *bias;
    static int64_t size(int64_t dim) { return 3 * dim + 2; }
  };
  ClassSums class_sums(int64_t large_class) const {
    const int64_t dim = problem_.dim;
    double *first = class_sums_ + large_class * ClassSums::size(dim);
    return {first, first + dim, first + 2 * dim, first + 3 * dim, first + 3 * dim + 1};
  }
  double *class_sums_ = nullptr;
  double *positive_weights_ = nullptr;  // by anchor; null: 1 each
  // Where rows travel: what the weights are made of, and the logarithm of its mean.
  std::vector<double> positive_exponents_;
  double positives_log_mean_ = 0;
  // Where parts may hold positives by id: the anchors' ids, the anchors by id, and what rows of a softmax met. Else empty.
  std::vector<int32_t> meeting_ids_;
  std::vector<RowOfId> anchors_by_id_;
  std::vector<Met> met_[INFONCE_MOST_SOFTMAXES];
  // By anchor, the row of the matrix with first positives of other calls; -1: none. Empty: there are none.
  std::vector<int64_t> first_elsewhere_;
  // By matrix, sums over its rows: of the unit rows, of those times the upstream gradient. Null: no smoothing.
  double *row_sums_ = nullptr;
  double *row_sum(int matrix) const { return row_sums_ + 2 * matrix * problem_.dim; }
  double *weighted_row_sum(int matrix) const { return row_sum(matrix) + problem_.dim; }
  RowSums row_sums_of(int matrix) const { return {row_sum(matrix), weighted_row_sum(matrix)}; }
};

extern template class Passes<float>;
extern template class Passes<double>;

}  // namespace infonce::cpu

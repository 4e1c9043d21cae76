// What the steps of a call know of it.
#pragma once

#include <vector>

#include "common/call.h"
#include "common/constants.h"
#include "common/smoothing.h"
#include "cuda/buffers.h"
#include "cuda/choice.h"
#include "cuda/classes.h"
#include "cuda/lane.h"
#include "cuda/paired_negatives.h"
#include "infonce/infonce.h"

namespace infonce::cuda {

// What is done of a call at once.
struct Phase {
  bool prepares = false;        // inputs become operands
  bool sums = false;            // exponentials
  bool has_losses = false;      // each row's loss, and what its gradient needs
  bool returns_losses = false;  // to the caller
  bool has_gradients = false;
  bool keeps = false;    // what later phases need, apart from what only this one needs
  bool is_part = false;  // of the candidates of one block
  bool is_logits = false;
  bool adds_terms = false;  // of positives, and nothing else
};
// clang-format off
//                                prepares sums   losses returns gradients keeps  part   logits terms
constexpr Phase kWhole         = {true,    true,  true,  true,   true};
constexpr Phase kForward       = {true,    true,  true,  true,   false,    true};
constexpr Phase kBackward      = {false,   false, true,  false,  true};
constexpr Phase kOpen          = {true,    true,  false, false,  false,    true};
constexpr Phase kAdd           = {true,    true,  false, false,  false,    false, true};
constexpr Phase kAddTerms      = {true,    false, false, false,  false,    false, true,  false, true};
constexpr Phase kClose         = {false,   false, true,  true};
constexpr Phase kOpenGradient  = {false,   false, true};
constexpr Phase kAddGradient   = {true,    false, false, false,  true,     false, true};
constexpr Phase kCloseGradient = {false,   false, false, false,  true};
constexpr Phase kSimclrLogits  = {true,    false, false, false,  false,    false, false, true};
// clang-format on

// Beside the softmaxes of a problem: that of a part's columns, which have their losses elsewhere.
constexpr int kOfColumns = INFONCE_MOST_SOFTMAXES;

// Of a part that meets some of its block's rows alone: rows [first, first + rows.size()) of the input, which the part prepares
// anew in that order.
struct SomeAnchors {
  int64_t first = 0;
  std::vector<int32_t> rows;  // the call's prepared ones; empty: the part meets all
  // The call's own.
  bool are_summed = false;
  Direction softmax = {}, weights = {};  // that of beta, too
  const double *positive_logit = nullptr;
  const int32_t *ids = nullptr, *targets = nullptr;
  const double *most = nullptr;
};

// An array that the call fills.
struct Output {
  infonce_output caller = {};
  int64_t count = 0;        // 0: not wanted
  float *device = nullptr;  // the caller's, or what is brought to it
  bool is_waiting = false;  // to be brought through staging buffers

  bool on_device() const { return caller.residence == INFONCE_ON_DEVICE; }
};
// kGradients + matrix
enum OutputName { kLogits, kRowLoss, kGradients, kOutputs = kGradients + INFONCE_MOST_MATRICES };

struct Work {
  Phase phase;
  infonce_problem problem;
  infonce_result *result;
  Lane *lane;
  Classes classes;
  Choice choice = {};
  bool in_float32 = true, in_float64 = false;       // as in the choice, until the data have decided
  bool is_summed[INFONCE_MOST_SOFTMAXES + 1] = {};  // by softmax: float64 sums are added to what is there
  // Of an opened call. Parts whose rows are not finite are remembered where results are to become NaN.
  BadRow bad_part = {};
  bool has_bad_gradient_part = false;
  bool has_gradient_parts = false;         // since its gradient was opened
  bool lacks_candidates = false;           // it has none but positives, and has to be given some
  double upstream_scale = 1;               // what upstream gradients are relative to, once its gradient is open
  const Report *report_of_call = nullptr;  // a part has one of its own
  // Of a part.
  int matrix_of_part = kNone;  // whose candidates it has, whatever matrix stands for them here
  Tower anchors_of_call = {};  // and the anchors, of which it may have some
  SomeAnchors some_anchors = {};
  infonce_travelling_rows columns = {};  // the caller's
  BadRow bad_number = {};                // among them and its biases, where results are to become NaN
  std::vector<MatrixGradient> gradients = {};
  PositiveRule rule = {};
  Output outputs[kOutputs] = {};
  bool returns_early = false;  // work may go on after the call's end
  bool downloads = false;      // something is brought back
  Upstream upstream = {};
  double bias_sums[INFONCE_MOST_MATRICES] = {};  // over the rows of each matrix, for smoothing
  Smoothing smoothing[INFONCE_MOST_SOFTMAXES] = {};
  bool has_log_mean = false;  // of what weights of positives are made of, over rows of other calls, too
  double positives_log_mean = 0;
  Pairs pairs[INFONCE_MOST_MATRICES] = {};  // of the anchors with the rows of each matrix
  Pairs pairs_of_keys = {};                 // of the keys with the anchors
  AddStatisticsTask sums = {};              // that the losses put together; of no rows: all are
  Buffers buffers = {};
  PairedNegatives paired_negatives = {};

  Stream &stream() const { return lane->stream; }
  int anchors() const { return choice.anchors; }
  int64_t rows() const { return choice.rows(anchors()); }
  const Tower &tower(int matrix) const { return buffers.towers[matrix]; }
  const Tower &anchor_tower() const { return tower(anchors()); }
  Tower memory_tower() const { return choice.memory == kNone ? Tower{} : tower(choice.memory); }
  int64_t guide_size_of(int matrix) const { return problem.matrices[matrix].rows * problem.guide_dim; }
  int64_t size_of(int matrix) const { return problem.matrices[matrix].rows * problem.dim; }
  bool sets_nan() const { return returns_early || problem.propagate_non_finite != 0; }
  // Whether all that the caller gets on the device is written by kernels that ask for bad rows.
  bool asks_for_bad_rows() const {
    return !phase.is_part && !phase.is_logits && !is_sigmoid(problem) && !own_block_of(problem);
  }
  const Report *nan_report() const { return sets_nan() && asks_for_bad_rows() ? buffers.report : nullptr; }
  // Which kernel's last block puts the totals together, else a launch of their own does.
  bool totals_go_along() const {
    return asks_for_bad_rows() && rows() <= kMostRowsOfLastBlock && (phase.returns_losses || phase.has_gradients);
  }
  bool totals_go_along_with_losses() const { return totals_go_along() && phase.has_losses && gradients.empty(); }
  bool totals_go_along_with_gradients() const { return totals_go_along() && !gradients.empty(); }
  bool opens_gradient() const { return phase.has_losses && !phase.returns_losses && !phase.has_gradients; }
  bool computes_gradient() const { return problem.gradient && phase.has_gradients; }
  float *gradient_of(int matrix) const { return outputs[kGradients + matrix].device; }  // null: not wanted
  const Direction *softmax(int index) const {
    return index == kNone ? nullptr : index == kOfColumns ? &buffers.softmax_of_columns : &buffers.softmaxes[index];
  }
  // Of logits times beta, to that softmax.
  const Direction *weights(int index) const {
    return index == kNone ? nullptr : index == kOfColumns ? &buffers.weights_of_columns : &buffers.softmaxes[1];
  }
  // Of the rows of a block, as float64_log_sum_exp takes them.
  const double *positive_logit(int softmax) const {
    return softmax == kOfColumns ? buffers.positive_logit_of_columns : buffers.pair_logits.first;
  }
  const FurtherSums &further(int softmax) const {
    return softmax == kOfColumns ? buffers.further_of_columns : buffers.further[softmax];
  }
  bool has_columns_of_part() const { return phase.is_part && choice.blocks[0].column_softmax == kOfColumns; }
  // Of the block's rows.
  Pairs pairs_of(const Block &block) const {
    const bool holds_pairs = block.rows == choice.keys && (block.columns == anchors() || block.is_triangle());
    Pairs found = block.rows == anchors() ? pairs[block.columns] : holds_pairs ? pairs_of_keys : Pairs{};
    if (block.left_out & INFONCE_LEAVE_OUT_SAME_ID)
      found.row_ids = buffers.ids[block.rows], found.column_ids = buffers.ids[block.columns];
    return found;
  }
  // Whether they are rows of the anchors' own matrix.
  bool positives_are_anchors() const { return choice.keys == kNone; }
  // Calls visit(matrix) for those that have rows; of a part for the anchors and its own.
  template <class Visit> void for_each_matrix(Visit &&visit) const {
    for (int m = 0; m < problem.matrix_count; ++m)
      if (choice.rows(m) > 0) visit(m);
  }
  // For those whose rows come with this phase.
  template <class Visit> void for_each_brought_matrix(Visit &&visit) const {
    for_each_matrix([&](int m) {
      if (phase.prepares && !(phase.is_part && m == anchors())) visit(m);
    });
  }
  template <class Visit> void for_each_brought_guide(Visit &&visit) const {
    for_each_brought_matrix([&](int m) {
      if (has_guides(problem)) visit(m);
    });
  }
  // Logits in powers of two, of a dot product 1.
  float exponent_of(const Block &block) const { return float(block.scale * kLog2E); }
  // The bias of sigmoids in powers of two.
  float shift() const { return choice.sigmoids ? float(problem.bias * kLog2E) : 0; }
  // Whether positives of the sigmoid loss are apart from the tiles.
  bool has_sigmoids_of_pairs() const {
    return choice.sigmoids && problem.softmaxes[0].positive == INFONCE_POSITIVE_SAME_INDEX;
  }
  // The block of an anchor's own candidates that others are beside, or null.
  const infonce_block *own_beside() const {
    const infonce_block *own = has_own_candidates_alone(problem) ? nullptr : own_block_of(problem);
    return own && problem.matrices[own->candidates].rows > 0 ? own : nullptr;
  }
  bool has_positive_weights() const { return problem.softmaxes[0].mises_fisher_sigma != 0; }
  bool is_smoothed() const { return problem.softmaxes[0].label_smoothing != 0; }
  // Whether positives by id may be among a block's pairs: those of anchors, wherever they are, and of a memory.
  bool meets_by_id(const Block &block) const {
    if (!choice.meets_by_id) return false;
    const infonce_block &of_part = problem.blocks[0];
    if (phase.is_part) return of_part.column_softmax != kNone || of_part.candidates == memory_of(problem);
    return block.is_triangle() || block.columns == memory_of(problem);
  }
  bool has_further_positives(const Block &block) const {
    return meets_by_id(block) || (block.left_out & INFONCE_LEAVE_OUT_SAME_ID_POSITIVE) != 0;
  }
  // Whether positives by id have terms of their own, which further ones may add to.
  bool has_terms() const {
    return choice.meets_by_id && problem.softmaxes[0].row_loss == INFONCE_ROW_LOSS_POSITIVE_AND_NEGATIVES;
  }
  bool needs_ids(int matrix) const;
  bool needs_bias(int matrix) const;
  int64_t source_row(int matrix, int64_t prepared_row) const;  // on the host
  // Whether pairs of a gradient are found by range: with targets, or where a triangle counts twice what pairs count once.
  bool finds_pairs_by_range() const;
  // How often a logit counts in what the anchors' gradient has along their rows.
  int count_of_radial() const { return choice.has_triangle() || finds_pairs_by_range() ? 2 : 1; }
};

WeightsOf weights_of(const Work &work, const Block &block);
Masks masks_of(const Work &work, const Block &block);
Float64Task float64_task_of(const Work &work, const Block &block);  // but for `elsewhere`
SigmoidTask sigmoid_of(const Work &work, const Block &block);
Softmax softmax_of(const Work &work);
OwnTask own_task_of(const Work &work);

}  // namespace infonce::cuda

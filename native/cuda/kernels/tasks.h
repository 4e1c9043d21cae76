// Kernel arguments: plain structs, passed by value, that launchers fill and kernels read. In the order of a call.
#pragma once

#include "common/row_loss.h"
#include "common/smoothing.h"
#include "cuda/kernels/rows.h"
#include "cuda/kernels/tile_order.h"

namespace infonce::cuda {

__host__ __device__ inline int32_t tiles_of(int64_t rows, int64_t rows_of_tile) {
  return static_cast<int32_t>((rows + rows_of_tile - 1) / rows_of_tile);
}

struct PrepareTask {
  Tower tower;
  int32_t matrix;
  Range *ranges;  // written: each sample's rows, or each row by itself; null: not wanted
  Report *report;
};

// Of one launch.
struct PrepareTasks {
  static constexpr int kMost = 4;
  PrepareTask of[kMost];
  unsigned first_block[kMost];
  int32_t count;
};

struct ClassSums {
  const Range *members;    // [count]
  const Range *in_memory;  // [count], further members; null without memory
  int64_t count;
  double *sums;     // [count][dim] of unit rows
  double *squares;  // [count][dim] of their elements
};

// What an anchor's positives are, beside Pairs.
struct PositiveRule {
  bool one_tower;
  bool first_only;  // the first other row of the sample; else all of them

  // Two towers: key i. One: the members of the anchor's range but itself, in ascending order. Those that a memory has
  // come after them.
  __device__ int64_t partners(const Range &range) const { return one_tower ? range.size() - 1 : 1; }
  __device__ int64_t partner(const Range &range, int64_t i, int64_t slot) const {
    if (!one_tower) return i;
    return range.first + slot + (range.first + slot >= i);
  }
};

// The logit of a pair that is left out: its exponential is 0 beside any other, and differences of it are numbers.
constexpr double kLeftOut = -1e300;

struct PairLogits {
  double *first;  // [padded_rows]: of the first positive; +inf without one
  double *slots;  // [slots][padded_rows], by partner; slot 0 of a row of a large class: the mean over its positives
  int64_t stride, most_pairs;  // of a row

  __device__ double &at(int64_t slot, int64_t i) const { return slots[slot * stride + i]; }
};

struct PairsTask {
  Tower anchors, positives;  // one tower: the same
  Tower memory_rows;
  Pairs pairs, memory;
  PositiveRule rule;
  const double *class_sums;  // [classes][dim]
  const int32_t *class_of;   // [rows], -1: not in a large class; null without large classes
  // Where positives have targets, biases or pairs of a sample may be left out; null: not.
  const Range *targets;  // [rows]: of two towers, the positive among the keys
  const float *bias_of_keys, *bias_of_memory;
  const int32_t *ids;  // of the anchors
  double scale;
  double margin;  // of the positives' dot products
  PairLogits logits;
  float *rank;
  float tie;  // relative to the lengths of the rows: dot products as near as this count as equal
};

// Statistics of rows over a part of the columns, or of columns over a tile row: [slots][padded rows].
struct Partials {
  float *sum;
  int32_t *above;
  float *maximum;  // of the dot products; null with a constant shift
};

// What is made of logits and added up: their exponentials, those relative to a running maximum, or sigmoid losses.
enum class Terms { kExponentials, kOnline, kSigmoids };

struct StatisticsTask {
  Tower rows, columns;
  Pairs pairs;  // of the rows
  bool ranks;   // whether it is counted what is above the positives
  const float *row_rank;
  const float *column_rank;  // null: no column statistics
  float exponent;            // logit in powers of two = exponent * dot product + shift
  float shift;               // 0 but for sigmoids
  bool triangular;           // one tower: only tiles on and above the diagonal, columns are rows of the same tower
  int32_t first_tile_row;    // of this launch
  int32_t tiles_per_run;
  TileOrder order;     // instead, for blocks that stay
  Partials by_row;     // [run][rows of the launch, whole tiles]
  Partials by_column;  // [rows of the launch / those of a column sum][columns.padded_rows]
};

struct AddStatisticsTask {
  Partials by_row, by_column;
  Direction of_rows, of_columns;  // for one tower the same
  int64_t columns, stride;        // columns 0: without; a row of their partials has padding
  int32_t rows_of_tile, rows_of_column_sum;
  int32_t first_tile_row, tile_rows;  // of the launch
  int32_t tiles, tiles_per_run;       // of the columns
  TileOrder order;                    // of the launch instead, if it has strips
  bool triangular;
  bool of_sigmoids;  // losses, and their derivatives in place of maxima
  float exponent;
};

// The softmax of a call and its pairs, those with rows of the memory apart.
struct Softmax {
  Pairs pairs, memory;
  PositiveRule rule;
  PairLogits logits;
  Direction rows, columns;
  bool has_columns;
  Upstream upstream;
};

// Sums over the positives by id that a row has, beside the one by index if there is one, [padded_rows]. They begin with
// zeros. Null: there are none.
struct FurtherSums {
  int32_t *count;
  double *log_sum_exp;                // of their exponentials, once there are any
  double *sum;                        // of their logits
  double *term_losses, *term_shares;  // of those that have terms of their own; else null
};

// These pairs in a block.
struct FurtherTask {
  Tower anchors, candidates;
  const int32_t *anchor_ids, *candidate_ids;
  const float *bias;                 // of the candidates, or null
  bool one_tower;                    // of the anchors and themselves: a row is no positive of its own
  bool are_keys;                     // the positives by index are candidates, too
  const Range *targets;              // by anchor, its positive by index; null: that of its own index
  const int32_t *target_numbers;     // by anchor, the number of the excluded candidate; null: none excluded
  int64_t first_number;              // of the first candidate
  int64_t first_anchor, end_anchor;  // the rows of the input that meet the candidates
  bool are_some;                     // what anchors get stands from the first of these on
  double scale;
  double smoothing;                                      // its amount
  bool by_index;                                         // each row has another positive, by index
  bool ranks;                                            // positives that are above the first one count
  const double *first_of_anchors, *first_of_candidates;  // logits of first positives; +inf without one
  Direction of_rows, of_columns;
  bool has_columns;

#ifdef __CUDACC__
  __device__ bool meets(int64_t i) const {
    const int64_t source = anchors.source_row(i);
    return source >= first_anchor && source < end_anchor;
  }
  __device__ bool holds(int64_t i, int64_t j) const {
    if (anchor_ids[i] != candidate_ids[j] || (bias && isinf(bias[j])) || (one_tower && i == j) || !meets(i))
      return false;
    if (target_numbers && target_numbers[i] == first_number + j) return false;
    return !are_keys || (targets ? targets[i].first : i) != j;
  }
  __device__ double logit(double dot, int64_t j) const { return scale * dot + (bias ? bias[j] : 0); }
#endif
};

// First positives by id, wherever they are.
struct FirstsTask {
  Tower anchors, elsewhere, memory;
  // By anchor: its own tower's, or -2 less the row elsewhere, where those of the memory stand behind the others; -1: it has
  // none.
  const int32_t *rows;
  double scale;
  double *logits;  // [padded_rows]; +inf without one
};

struct LossesTask : Softmax {
  Tower anchors;
  bool online;               // weights belong to probabilities, else to exponentials
  float *row_loss;           // [rows] in the input's order, or null
  const Report *nan_report;  // whose bad rows make results NaN; null: none do
  Debiasing debiasing;
  double multiplicity[2];          // by direction, of an only positive
  Smoothing smoothing[2];          // by direction
  const double *mean_logit[2];     // [rows] over the candidates; null without smoothing
  const double *positive_weights;  // [rows], of a decoupled loss; null: 1 each
  FurtherSums further[2];
  bool adds_sigmoids_of_pairs;  // that no tile has
  double sigmoid_bias;
};

// The weights of positives by von Mises and Fisher.
struct PositiveWeightsTask {
  const double *logits;  // [rows], of the positives
  int64_t rows;
  double scale, sigma;
  bool has_log_mean;  // this one; else that of the rows
  double log_mean;
  double *weights;  // [rows]
};

// Sums over the rows of a tower, which may have weights.
struct RowSumTask {
  Tower tower;
  const double *weights;  // [rows], or null: 1
  double *sum;            // [dim]
};

// The mean logit of each anchor's candidates.
struct MeanLogitsTask {
  Tower anchors;
  const double *sums[INFONCE_MOST_MATRICES];  // of the candidates' rows, by matrix
  int32_t matrices;
  bool among_anchors;  // the anchor itself is in one of the sums
  double scale;
  double add;                    // to the sum of the logits
  const double *positive_logit;  // [rows] of positives that are in no sum, or null
  const double *further;         // [rows]: sums of logits elsewhere, or null
  double candidates;
  double *mean;  // [rows]
};

// Adds each row's sum of logits with the rows of another tower.
struct LogitSumsTask {
  Tower tower;
  int64_t first_source, end_source;  // of the rows of the input that do
  const double *others;              // [dim], the sum of the other rows
  double scale, add;
  double *sums;  // [rows]
};

// What smoothing brings to the sums of a gradient, from candidates of a softmax.
struct SmoothingTask {
  Tower tower;
  double each;               // by logit
  const double *upstream;    // [rows]
  const double *candidates;  // [dim], their sum, for rows that are anchors; else null
  const double *anchors;  // [dim], the sum of anchors times upstream gradient, for rows that are candidates; else null
  double *accumulators;   // [padded_rows][padded_dim]
};

// Of more rows totals have a launch of their own, whose block has more threads.
constexpr int64_t kMostRowsOfLastBlock = 4096;

struct TotalsTask {
  int64_t rows;  // 0: totals are put together elsewhere
  bool ranks;
  bool sets_nan;          // a bad row of the report makes the results on the device NaN
  const double *loss[2];  // by direction; null: none
  const int32_t *above[2];
  const double
      *first_logit;      // [rows]: +inf for a row without positive, which is not among the best; null: all have one
  const double *radial;  // null without gradient
  double loss_divisor, radial_divisor;
  // The share of the margin in d loss / d scale.
  double margin;           // 0: none
  double of_candidate[2];  // by direction: d loss / d logit of a positive, beside its rest_share
  const double *row_upstream[2], *rest_share[2];
  Upstream upstream;
  Report *report;
  infonce_scalars *scalars;  // the caller's, or null
};

// What a call fills, in device memory.
struct Results {
  static constexpr int kMost = INFONCE_MOST_MATRICES + 1;  // the gradients and the losses of rows
  int32_t arrays;
  float *values[kMost];
  int64_t count[kMost];
  infonce_scalars *scalars;
};

// W_ij = d (total loss) / d (logit of anchor i and candidate j) without the pairs that are treated apart: the
// exponential of the logit times what the owner's and the other's softmax make of it.
struct WeightsOf {
  Tower owner, other;
  Pairs pairs;  // of the owner's rows
  // A direction without loss: weight 0, log2_sum +inf.
  const float *owner_weight, *other_weight;
  const float *owner_log2_sum, *other_log2_sum;  // online only
  const float *owner_target, *other_target;      // read where pairs.classes is not empty
  float exponent, shift;                         // as those of StatisticsTask
};

struct PanelTask {
  WeightsOf weights;
  __nv_bfloat16 *panel;  // [planes][panel_rows][panel_columns]
  int32_t panel_rows, panel_columns;
  int32_t first_tile_row, first_tile, end_tile;  // of the panel
  int32_t tiles_per_run;
  bool triangular;  // compute capability 9.0: only what is not left of the blocks of 256 on the diagonal
};

struct AccumulateTask {
  const __nv_bfloat16 *panel;  // [planes][panel_rows][panel_columns]
  int32_t panel_rows, panel_columns;
  int32_t columns;  // of the panel in use, a multiple of 128
  Tower other;
  int64_t first_row, first_column;  // of the panel, in the owner's and the other's rows
  float *accumulators;              // [splits][owner plane]
  int64_t owner_plane;              // owner.padded_rows * owner.padded_dim
  bool add;                         // to what the accumulators hold
};

// Whose weights a panel holds, as its rows or as its columns, and what it gets of it.
struct PanelSide {
  Tower tower;
  int64_t first_row;    // of the panel
  float *accumulators;  // [splits][padded_rows][padded_dim]; null: not wanted
  bool add;             // to what they hold
};

// A panel multiplied by the unit rows of its columns, and transposed by those of its rows.
struct PanelProductTask {
  const __nv_bfloat16 *panel;  // [planes][panel_rows][panel_columns]
  int32_t panel_rows, panel_columns;
  int32_t rows, columns;  // in use, multiples of 128
  // Of one tower, on the diagonal: only what is not left of the blocks of 256 on it was written. Has but the rows'
  // side.
  bool triangular;
  int32_t splits;  // of what is summed over
  int32_t dims;    // of a tile
  PanelSide of_rows, of_columns;
};

struct GradientTask {
  WeightsOf weights;
  float *accumulators;  // [splits][owner.padded_rows][owner.padded_dim]
};

// The statistics of rows and what their gradient sums, in one pass, where a row's weights are its exponentials times a
// factor that only the statistics tell.
struct FlashTask {
  WeightsOf weights;  // of which those of the rows do not count, and the columns have none
  bool ranks;
  const float *row_rank;
  Partials by_row;        // [splits][rows_of_split]
  int64_t rows_of_split;  // whole tiles
  float *accumulators;    // [splits][owner.padded_rows][owner.padded_dim]: sums of exponentials times columns
};

// The float64 scheme.
struct Float64Task {
  Tower owner, other;
  Pairs pairs;             // of the owner's rows
  const Range *elsewhere;  // by the owner's rows: members of their large classes in another tower; null: none
  Masks masks;             // kMasked
  double scale;
  Tower guide_owner, guide_other;  // of masks by guide

#ifdef __CUDACC__
  // The owner's padding has the pairs of its last row; nothing comes of them.
  __device__ Range range(const Range *ranges, int64_t i) const {
    return ranges ? ranges[min(i, owner.rows - 1)] : Range{0, 0};
  }
  // The logit of rows that there are; -inf: no candidates. Positives of a large class stay.
  template <bool kMasked> __device__ double logit(double dot, int64_t i, int64_t j) const {
    double logit = scale * dot;
    if constexpr (kMasked) {
      if (masks.row_bias) logit += masks.row_bias[i];
      if (masks.column_bias) logit += masks.column_bias[j];
      if (masks.column_period > 0 && j % masks.column_period == i) logit = -INFINITY;
      if (masks.row_period > 0 && i % masks.row_period == j) logit = -INFINITY;
      if (masks.row_ids && masks.row_ids[i] == masks.column_ids[j] && !range(pairs.classes, i).holds(j))
        logit = -INFINITY;
      if (!masks.by_guide && masks.is_above(dot, i, j)) logit = -INFINITY;
      if (masks.is_target(i, j)) logit = -INFINITY;
    }
    return logit;
  }
#endif
};

// Each anchor's threshold: of its dot product with its positive, which the tile would sum up alike.
struct ThresholdTask {
  Tower anchors, positives;
  const Range *targets;  // by anchor, the row of its positive
  bool is_relative;
  double margin;
  double *most;
};

// The sigmoid loss, in float64.
struct SigmoidTask {
  Float64Task block;        // without pairs; ids say which pairs are positives
  bool positives_by_index;  // without ids: those of equal index, or none
  double bias;

#ifdef __CUDACC__
  __device__ bool is_positive(int64_t i, int64_t j) const {
    return block.masks.row_ids ? block.masks.row_ids[i] == block.masks.column_ids[j] : positives_by_index && i == j;
  }
#endif
};

// With own negatives, [N, M, dim].
struct PairedProblem {
  int32_t anchors_matrix, keys_matrix, negatives_matrix;
  const float *anchors, *keys, *negatives;
  int64_t anchor_stride, key_stride, negative_stride;  // numbers from one row of them to the next
  const float *key_bias;                               // [N], or null
  int64_t rows, negative_rows, dim;                    // N, M
  double scale, negative_scale;                        // of the logits of keys, of negatives
  const int32_t *counts;                               // [N]: how many negatives a query has, or null: M
  bool normalize, ranks;
  double margin;  // of the keys' dot products

  __host__ __device__ int64_t count_of(int64_t i) const { return counts ? counts[i] : negative_rows; }
};

struct PairedTask {
  PairedProblem problem;
  Upstream upstream;
  double2 *negatives;  // [N, M]: {dot product, inverse norm}, later {weight of the row, share along the row}
  float *grad_anchors, *grad_keys;  // null without gradient
  float *grad_negatives;            // null: not wanted
  double *loss;
  int32_t *above;
  double *radial;
  Report *report;
};

// Candidates of an anchor's own beside others, [N, each, dim], or [each, N, dim] among others. By row of the input, but
// for what is by prepared row.
struct OwnTask {
  Tower anchors;
  int32_t matrix;
  const float *own;
  int64_t own_stride;  // numbers from one row of it to the next
  int64_t each;
  int64_t of_anchor, of_next;  // rows from the first own one of an anchor to that of the next, and to its second
  const int32_t *counts;       // [N]: how many an anchor has, or null: all
  double scale, logit_scale;   // of a dot product's gradient and rank, of its logit
  bool ranks;
  const double *positive_logit;  // by prepared row
  Direction softmax;             // of the anchors
  double2 *pairs;                // [N, each]: {dot product, inverse norm}
  double2 *shares;               // [N, each]: {weight of the row, share along the row}
  Upstream upstream;
  double *sums;      // [padded_rows][padded_dim], by prepared row: what the anchors get
  float *gradients;  // null: not wanted, or among others
  Report *report;

  __host__ __device__ int64_t row_of(int64_t source_row, int64_t h) const {
    return source_row * of_anchor + h * of_next;
  }
  __host__ __device__ const float *own_row(int64_t source_row, int64_t h) const {
    return own + row_of(source_row, h) * own_stride;
  }

  __host__ __device__ int64_t count_of(int64_t source_row) const { return counts ? counts[source_row] : each; }
};

// to += the sum of the splits, row by row times a factor, which may be null.
template <class Scalar> struct AddSplitsTask {
  Tower to_tower;
  double *to;            // [padded_rows][padded_dim]
  const Scalar *splits;  // [count][rows, padded][padded_dim]
  int32_t count;
  int64_t plane;  // of a split
  const float *factor;
  int64_t first_source, rows;  // the splits are of so many rows from this one of the input on; -1: of all prepared ones
};

// How a gradient gets the share of its pairs: from the partners that a rule gives, or from a range of them.
enum class PairRule { kByRule, kByRange };

template <class Scalar> struct FinishTask : Softmax {
  Tower tower, partners;  // whose gradient it is, and where its pairs' other halves are
  Tower memory_rows;      // and the rest of them
  bool has_pairs;
  int32_t row_loss;
  bool counts_others;   // kByRule: splits beyond those of the triangle have their radial dot counted apart
  const Range *ranges;  // kByRange: by row, its partners
  bool of_keys;         // kByRange: rows are keys and partners anchors, else the other way round
  double scale;
  double smoothing;            // its amount
  const Scalar *accumulators;  // [all_splits][padded_rows][padded_dim]
  int32_t splits, all_splits;  // the first are those of the triangle, or all
  const float *factor;         // of a row's accumulators, or null: 1
  Scalar *sums;                // [padded_rows][padded_dim], may be the first of the accumulators
  float *gradient;             // [rows, dim] in the input's order
  double *radial;              // [rows]: <u, d loss / d u>, or null
  const Report *nan_report;    // as of LossesTask
};

}  // namespace infonce::cuda

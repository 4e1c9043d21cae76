// A call's arrays on the device.
#pragma once

#include "cuda/kernels/tasks.h"
#include "cuda/workspace.h"

namespace infonce::cuda {

struct Work;

struct Buffers {
  struct Input {
    float *rows = nullptr;   // a copy in float32; null while the caller's array serves
    void *halves = nullptr;  // a copy of what the host has in 16 bits
  };
  struct OfClasses {  // as in Classes
    int32_t *order, *class_of, *memory_order;
    Range *apart, *members, *large, *targets, *anchors_of_keys;
    Range *memory_apart, *memory_members, *memory_large;
    int32_t *firsts;
  };

  // What the gradients need: rows, operands, statistics.
  Input inputs[INFONCE_MOST_MATRICES];  // by matrix, as the next
  Tower towers[INFONCE_MOST_MATRICES] = {};
  Input guide_inputs[INFONCE_MOST_MATRICES];
  Tower guides[INFONCE_MOST_MATRICES] = {};  // without planes
  double *most = nullptr;                    // [padded rows] of the anchors: their thresholds; null: there are none
  double *radial = nullptr;
  Report *report = nullptr;
  Direction softmaxes[2] = {};
  // Of a part's columns that have losses elsewhere; of its rows of the softmax, and their positives' logits.
  Direction softmax_of_columns = {};
  double *positive_logit_of_columns = nullptr;
  Direction weights_of_columns = {};  // of beta
  FurtherSums further_of_columns = {};
  double *logit_sums_of_columns = nullptr;
  float *no_weight = nullptr, *no_log2_sum = nullptr;  // of a side without softmax
  unsigned char *zeroed = nullptr;                     // what begins with zeros
  size_t zeroed_bytes = 0;
  float *flash_accumulators = nullptr;
  OfClasses classes = {};
  int32_t *ids[INFONCE_MOST_MATRICES] = {};  // by matrix, prepared rows; null: not needed
  float *bias[INFONCE_MOST_MATRICES] = {};
  // Of candidates of an anchor's own: their counts, or null, and what OwnTask has for all of them.
  int32_t *own_counts = nullptr;
  double2 *own_pairs = nullptr, *own_shares = nullptr;
  ClassSums class_sums = {};
  PairLogits pair_logits = {};
  FurtherSums further[INFONCE_MOST_SOFTMAXES] = {};  // by softmax
  int32_t *target_numbers = nullptr;                 // by prepared row of the anchors, of candidates that are left out
  // With label smoothing in parts: by softmax, the sums of its anchors' logits there.
  double *logit_sums[INFONCE_MOST_SOFTMAXES] = {};

  // Of a gradient in parts, by matrix that meets them: what its gradient sums, of the anchors that of the triangle first.
  double *sums_of_parts[INFONCE_MOST_MATRICES] = {};
  double *all_sums_of_parts = nullptr;
  size_t sums_of_parts_bytes = 0;
  bool has_sums_of_triangle = false;  // of the anchors

  // What is done with when the call is.
  const float *grad_output = nullptr;
  Partials by_row = {}, by_column = {};
  float *accumulators = nullptr, *accumulators_of_columns = nullptr;
  __nv_bfloat16 *panel = nullptr;
  double *float64_accumulators = nullptr, *float64_panel = nullptr;
  // Of label smoothing: sums over the rows of each matrix, [dim], plain and with upstream gradients; by softmax, the mean
  // logits of its anchors. Null without it.
  double *row_sums[INFONCE_MOST_MATRICES] = {}, *weighted_row_sums[INFONCE_MOST_MATRICES] = {};
  double *mean_logits[INFONCE_MOST_SOFTMAXES] = {};
  double *positive_weights = nullptr;  // [rows]; null: 1 each
  FurtherSums all_terms = {};          // with those of this call's own positives
};

// These fill the buffers of a call.
void take_kept(Workspace::Cursor &cursor, Work *work);
void take_sums_of_parts(Workspace::Cursor &cursor, Work *work);
void take_scratch(Workspace::Cursor &cursor, Work *work);

int64_t float64_panel_elements(const Work &work);

}  // namespace infonce::cuda

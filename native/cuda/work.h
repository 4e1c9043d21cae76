// What the steps of a call know of it.
#pragma once

#include <vector>

#include "cuda/buffers.h"
#include "cuda/choice.h"
#include "cuda/classes.h"
#include "cuda/lane.h"
#include "cuda/paired_negatives.h"
#include "infonce/infonce.h"

namespace infonce::cuda {

// kForward keeps what kBackward needs apart from what only it needs itself. kLogits: SimCLR's logits alone.
enum class Part { kWhole, kForward, kBackward, kLogits };

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
  Part part;
  infonce_problem problem;
  infonce_result *result;
  Lane *lane;
  Classes classes;
  Choice choice = {};
  bool in_float32 = true, in_float64 = false;  // as in the choice, until the data have decided
  std::vector<MatrixGradient> gradients = {};
  PositiveRule rule = {};
  float exponent = 0;  // a logit in powers of two, of a dot product 1
  Output outputs[kOutputs] = {};
  bool returns_early = false;  // work may go on after the call's end
  bool downloads = false;      // something is brought back
  Upstream upstream = {};
  Pairs pairs[INFONCE_MOST_MATRICES] = {};  // of the anchors with the rows of each matrix
  Pairs pairs_of_keys = {};                 // of the keys with the anchors
  Buffers buffers = {};
  PairedNegatives paired_negatives = {};

  Stream &stream() const { return lane->stream; }
  int anchors() const { return choice.anchors; }
  int64_t rows() const { return choice.rows(anchors()); }
  const Tower &tower(int matrix) const { return buffers.towers[matrix]; }
  const Tower &anchor_tower() const { return tower(anchors()); }
  Tower memory_tower() const { return choice.memory == kNone ? Tower{} : tower(choice.memory); }
  int64_t size_of(int matrix) const { return problem.matrices[matrix].rows * problem.dim; }
  bool computes_gradient() const { return problem.gradient && (part == Part::kWhole || part == Part::kBackward); }
  float *gradient_of(int matrix) const { return outputs[kGradients + matrix].device; }  // null: not wanted
  const Direction *softmax(int index) const { return index == kNone ? nullptr : &buffers.softmaxes[index]; }
  // Of the block's rows.
  Pairs pairs_of(const Block &block) const {
    if (block.rows == anchors()) return pairs[block.columns];
    return block.rows == choice.keys ? pairs_of_keys : Pairs{};
  }
  // Whether they are rows of the anchors' own matrix.
  bool positives_are_anchors() const { return choice.keys == kNone; }
  // Calls visit(matrix) for those that have rows.
  template <class Visit> void for_each_matrix(Visit &&visit) const {
    for (int m = 0; m < problem.matrix_count; ++m)
      if (choice.rows(m) > 0) visit(m);
  }
};

WeightsOf weights_of(const Work &work, const Block &block);
Softmax softmax_of(const Work &work);

}  // namespace infonce::cuda

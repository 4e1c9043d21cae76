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
enum OutputName { kLogits, kRowLoss, kGradients, kOutputs = kGradients + kTowers };  // kGradients + tower

struct Work {
  Part part;
  infonce_problem problem;
  Roles roles;
  infonce_result *result;
  Lane *lane;
  Classes classes;
  Choice choice = {};
  bool in_float32 = true, in_float64 = false;  // as in the choice, until the data have decided
  std::vector<TowerGradient> gradients = {};
  PositiveRule rule = {};
  float exponent = 0;  // a logit in powers of two, of a dot product 1
  Output outputs[kOutputs] = {};
  bool returns_early = false;  // work may go on after the call's end
  bool downloads = false;      // something is brought back
  Upstream upstream = {};
  Pairs pairs = {}, memory_pairs = {};
  Buffers buffers = {};
  PairedNegatives paired_negatives = {};

  Stream &stream() const { return lane->stream; }
  int64_t rows() const { return choice.rows(kAnchors); }
  bool has(TowerName tower) const { return choice.rows(tower) > 0; }
  const infonce_matrix &matrix(TowerName tower) const { return problem.matrices[matrix_of(roles, tower)]; }
  int64_t size_of(TowerName tower) const { return matrix(tower).rows * problem.dim; }
  bool computes_gradient() const { return problem.gradient && (part == Part::kWhole || part == Part::kBackward); }
  float *gradient_of(TowerName tower) const { return outputs[kGradients + tower].device; }  // null: not wanted
  const Tower &tower(TowerName name) const { return buffers.towers[name]; }
  const Pairs &pairs_with(TowerName columns) const {
    return roles.one_tower() && columns == kNegatives ? memory_pairs : pairs;
  }
  const Direction *softmax(int index) const { return index == kNoSoftmax ? nullptr : &buffers.softmaxes[index]; }
};

WeightsOf weights_of(const Work &work, const Block &block);
Softmax softmax_of(const Work &work);

}  // namespace infonce::cuda

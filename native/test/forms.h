#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "test/case.h"

namespace infonce::test {

// A problem of any form that the contract allows, and how its random numbers are made.
struct Form {
  uint32_t seed = 0;
  infonce_positive positive = INFONCE_POSITIVE_SAME_INDEX;  // by view or id: one tower; else two
  int64_t rows = 0;
  int64_t dim = 0;
  int64_t views = 1;             // of one tower
  int64_t memory = 0;            // rows of a memory, of one tower by id; 0: none
  int64_t keys = 0;              // of two towers
  bool in_batch = true;          // the keys are candidates
  bool other_anchors = false;    // and the other anchors, of two towers by index
  bool both_directions = false;  // of two towers
  bool joint = false;            // of as many keys as anchors: keys look for anchors in the first softmax
  bool keys_apart = false;       // keys look for anchors in a block of their own, instead
  bool other_keys = false;       // a key looks for other keys
  bool keys_to_further = false;  // and for further candidates
  std::vector<int64_t> further;  // rows of further matrices of candidates
  int64_t own = 0;               // candidates that each anchor has of its own, beside the others; 0: none
  bool among = false;            // every anchor sees them all
  bool counted = false;          // some anchors have fewer, and NaN in the rest
  double stretch = 0;            // of some blocks that may have one
  infonce_threshold threshold = INFONCE_THRESHOLD_NONE;  // of all blocks, where it goes with the rest
  double threshold_margin = 0;
  bool by_guide = false;  // whose rows are of a few items, so that no rounding decides anything
  int32_t ids = 0;        // how many there are, where equal ones leave out; 0: nothing does
  bool bias = false;      // of one matrix that may have one, and perhaps of others
  bool halves = false;    // matrices are of any type
  bool unwanted = false;  // some gradients are not asked for
  double temperature = 0.1;
  double label_smoothing = 0;  // where it goes with the rest
  infonce_reduction reduction = INFONCE_REDUCTION_MEAN;
  bool normalize = true;
  bool gradient = true;
  bool ranks = true;
  int64_t grad_output_count = 0;  // 0, 1 or rows
  size_t offset = 0;              // elements before each input and output

  bool one_tower() const { return positive <= INFONCE_POSITIVE_SAME_ID; }
  bool joins_sides() const { return joint || keys_apart || other_keys || keys_to_further; }
};

std::string describe(const Form &form);

// Forms in turn, with everything else at random.
Form random_form(uint32_t seed);

// The same with a threshold: of the guide's cosines, or of the rows' own, which only 'highest' tells apart as float64 does.
Form random_form_with_threshold(uint32_t seed, bool by_guide);

Inputs inputs_of(const Form &form);

// No softmax has rows of this matrix as anchors or as positives.
bool is_candidate_alone(const infonce_problem &problem, int matrix);

}  // namespace infonce::test

#include "common/roles.h"

namespace infonce {
namespace {

constexpr char kNotComputed[] = "no backend computes this combination of blocks and softmaxes";

uint32_t bit_of(int matrix) { return uint32_t(1) << matrix; }

bool is_block(const infonce_block &block, int anchors, int candidates, int column_softmax, uint32_t left_out) {
  return block.anchors == anchors && block.candidates == candidates && block.row_softmax == 0 &&
         block.column_softmax == column_softmax && block.left_out == left_out;
}

bool is_softmax(const infonce_softmax &softmax, int anchors, uint32_t positives, double weight) {
  return softmax.anchors == anchors && softmax.positive_matrices == positives && softmax.weight == weight;
}

bool one_tower_is_right(const infonce_problem &p, Roles *roles) {
  const int anchors = roles->anchors;
  const infonce_softmax &softmax = p.softmaxes[0];
  if (!is_block(p.blocks[0], anchors, anchors, 0, INFONCE_LEAVE_OUT_SAME_ROW) || p.blocks[0].own) return false;
  uint32_t positives = bit_of(anchors);
  if (p.block_count == 2) {
    const infonce_block &block = p.blocks[1];
    roles->negatives = block.candidates;
    if (softmax.positive != INFONCE_POSITIVE_SAME_ID || block.candidates == anchors) return false;
    if (!is_block(block, anchors, block.candidates, -1, 0) || block.own) return false;
    positives |= bit_of(block.candidates);
  }
  return p.softmax_count == 1 && p.block_count <= 2 && softmax.positive != INFONCE_POSITIVE_SAME_INDEX &&
         is_softmax(softmax, anchors, positives, 1);
}

bool two_towers_are_right(const infonce_problem &p, Roles *roles) {
  const infonce_block &block = p.blocks[0];
  const int anchors = roles->anchors;
  for (int s = 0; s < p.softmax_count; ++s)
    if (p.softmaxes[s].positive != INFONCE_POSITIVE_SAME_INDEX) return false;
  for (int m = 0; m < p.matrix_count; ++m)
    if (p.softmaxes[0].positive_matrices == bit_of(m)) roles->keys = m;
  const int keys = roles->keys;
  if (keys < 0 || keys == anchors || p.block_count != 1 || p.softmax_count > 2) return false;
  if (block.candidates == keys) {
    roles->candidates = Candidates::kKeys;
    roles->both_directions = p.softmax_count == 2;
    if (block.own || !is_block(block, anchors, keys, roles->both_directions ? 1 : -1, 0)) return false;
    const double weight = roles->both_directions ? 0.5 : 1;
    return is_softmax(p.softmaxes[0], anchors, bit_of(keys), weight) &&
           (!roles->both_directions || is_softmax(p.softmaxes[1], keys, bit_of(anchors), weight));
  }
  roles->candidates = block.own ? Candidates::kOwnNegatives : Candidates::kSharedNegatives;
  roles->negatives = block.candidates;
  return block.candidates != anchors && p.softmax_count == 1 && is_block(block, anchors, block.candidates, -1, 0) &&
         is_softmax(p.softmaxes[0], anchors, bit_of(keys), 1);
}

}  // namespace

const char *find_roles(const infonce_problem &p, Roles *roles) {
  if (p.matrix_count < 1 || p.matrix_count > INFONCE_MOST_MATRICES || p.block_count < 1 ||
      p.block_count > INFONCE_MOST_BLOCKS || p.softmax_count < 1 || p.softmax_count > INFONCE_MOST_SOFTMAXES)
    return "matrix_count, block_count or softmax_count is out of range";
  const auto is_matrix = [&](int32_t matrix) { return matrix >= 0 && matrix < p.matrix_count; };
  for (int b = 0; b < p.block_count; ++b)
    if (!is_matrix(p.blocks[b].anchors) || !is_matrix(p.blocks[b].candidates)) return "a block of an unknown matrix";
  for (int s = 0; s < p.softmax_count; ++s) {
    const infonce_softmax &softmax = p.softmaxes[s];
    if (!is_matrix(softmax.anchors)) return "a softmax of an unknown matrix";
    if (softmax.positive < INFONCE_POSITIVE_FIRST_VIEW || softmax.positive > INFONCE_POSITIVE_SAME_INDEX)
      return "unknown positive rule";
    if (softmax.row_loss != INFONCE_ROW_LOSS_CROSS_ENTROPY) return "unknown row loss";
  }
  *roles = {};
  roles->anchors = p.softmaxes[0].anchors;
  roles->candidates = Candidates::kOtherAnchors;
  const bool one_tower = p.blocks[0].anchors == p.blocks[0].candidates;
  const bool right = one_tower ? one_tower_is_right(p, roles) : two_towers_are_right(p, roles);
  if (!right) return kNotComputed;
  const int used = 1 + (roles->keys >= 0) + (roles->negatives >= 0);
  return used == p.matrix_count ? nullptr : kNotComputed;
}

}  // namespace infonce

#include "cpu/pairs.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "common/constants.h"
#include "common/row_loss.h"
#include "cpu/memory.h"

namespace infonce::cpu {
namespace {
constexpr int64_t kBytesOfRow = 48;  // over all vectors

template <class T> int64_t bytes_of(const std::vector<T> &values) { return int64_t(values.size() * sizeof(T)); }

}  // namespace

void Pairs::build(const infonce_problem &problem, const Layout &layout) {
  require_memory(layout.end() * kBytesOfRow);
  const infonce_softmax &softmax = problem.softmaxes[0];
  anchors_ = layout.rows(layout.anchors());
  one_tower_ = positives_are_anchors(softmax);
  all_positive_ = softmax.positive != INFONCE_POSITIVE_FIRST_VIEW;
  large_classes_.clear();
  anchor_start_.clear();
  groups_of_own_.clear();
  groups_.assign(layout.end(), -1);
  first_positives_.assign(layout.padded_rows(layout.anchors()), -1);
  for (int k = 0; k < layout.count(); ++k)
    std::fill_n(groups_.begin() + layout.first(layout.matrix(k)), layout.rows(layout.matrix(k)), kNoGroup);
  are_apart_ = !is_sigmoid(problem);
  if (!are_apart_) build_sigmoid(problem, layout);
  else if (one_tower_) build_classes(problem, layout);
  else build_one_each(problem, layout);
  copy_ids(problem, layout);
  copy_bias(problem, layout);
  further_.build(problem, layout, groups_, first_positives_);
}

// An anchor and its positive are of the positive's group, which is its number where it is elsewhere.
void Pairs::build_one_each(const infonce_problem &problem, const Layout &layout) {
  const int elsewhere = layout.elsewhere();
  const int64_t first = layout.first(elsewhere), rows = layout.rows(elsewhere);
  const bool by_number = leaves_out_target(problem);
  const int32_t *numbers = problem.softmaxes[0].targets, *targets = by_number ? nullptr : numbers;
  for (int64_t j = 0; j < rows; ++j) groups_[first + j] = int32_t(j);
  for (int64_t i = 0; i < anchors_; ++i) {
    // Looked at once: by now another may stand there than the one that was found right.
    const int64_t positive = targets ? std::clamp<int64_t>(targets[i], 0, rows - 1) : i;
    groups_[i] = by_number ? numbers[i] : int32_t(positive);
    first_positives_[i] = first + positive;
  }
  for (int b = 0; b < problem.block_count; ++b) {
    const int m = problem.blocks[b].candidates;
    if (!leaves_out_target(problem.blocks[b])) continue;
    const auto first_row = groups_.begin() + layout.first(m);
    std::iota(first_row, first_row + layout.rows(m), int32_t(problem.matrices[m].first_number));
  }
  group_own(problem, layout);
  largest_partner_count_ = 1;
  if (!targets) return;
  anchor_start_.assign(rows + 1, 0);
  anchors_by_positive_.resize(anchors_);
  for (int64_t i = 0; i < anchors_; ++i) ++anchor_start_[groups_[i] + 1];
  std::partial_sum(anchor_start_.begin(), anchor_start_.end(), anchor_start_.begin());
  std::vector<int64_t> next(anchor_start_.begin(), anchor_start_.end() - 1);
  for (int64_t i = 0; i < anchors_; ++i) anchors_by_positive_[next[groups_[i]]++] = i;
}

// An anchor's own candidates among others are of its group, too, in blocks that treat them apart or leave them out.
void Pairs::group_own(const infonce_problem &problem, const Layout &layout) {
  for (int b = 0; b < problem.block_count; ++b) {
    const infonce_block &block = problem.blocks[b];
    if (!tells_own(block)) continue;
    groups_of_own_.resize(layout.end(), -1);
    for (int64_t j = 0; j < layout.rows(block.candidates); ++j)
      groups_of_own_[layout.first(block.candidates) + j] = int32_t(j % anchors_);
  }
}

// Ranks are those of row i, whether it is a positive or not.
void Pairs::build_sigmoid(const infonce_problem &problem, const Layout &layout) {
  const int elsewhere = layout.elsewhere();
  const int64_t first = layout.first(elsewhere), rows = layout.rows(elsewhere);
  const int32_t positive = problem.softmaxes[0].positive;
  largest_partner_count_ = 0;
  std::fill_n(groups_.begin(), anchors_, 0);  // which no candidate has
  if (positive == INFONCE_POSITIVE_NONE) return;
  for (int64_t i = 0; i < anchors_; ++i) first_positives_[i] = first + i;
  if (positive == INFONCE_POSITIVE_SAME_INDEX) {
    std::iota(groups_.begin(), groups_.begin() + anchors_, 0);
    std::iota(groups_.begin() + first, groups_.begin() + first + rows, 0);
    return;
  }
  // Any numbers may be ids, but a negative group is padding.
  std::vector<int32_t> ids(anchors_ + rows);
  const auto of_candidates = ids.begin() + anchors_;
  std::copy_n(problem.matrices[layout.anchors()].ids, anchors_, ids.begin());
  std::copy_n(problem.matrices[elsewhere].ids, rows, of_candidates);
  known_ids_ = ids;
  std::sort(known_ids_.begin(), known_ids_.end());
  const auto group_of = [&](int32_t id) { return group_of_id(id); };
  std::transform(ids.begin(), of_candidates, groups_.begin(), group_of);
  std::transform(of_candidates, ids.end(), groups_.begin() + first, group_of);
}

int32_t Pairs::group_of_id(int32_t id) const {
  const auto place = std::lower_bound(known_ids_.begin(), known_ids_.end(), id);
  return place != known_ids_.end() && *place == id ? int32_t(place - known_ids_.begin()) : kNoGroup;
}

void Pairs::build_classes(const infonce_problem &problem, const Layout &layout) {
  const infonce_softmax &softmax = problem.softmaxes[0];
  if (meets_parts_alone(problem)) build_classes_of_views(anchors_, 1);
  else if (softmax.positive == INFONCE_POSITIVE_SAME_ID) build_classes_of_ids(problem, layout);
  else build_classes_of_views(anchors_, problem.matrices[softmax.anchors].views);

  const int64_t classes = int64_t(class_start_.size()) - 1;
  large_class_.assign(classes, -1);
  row_large_class_.assign(layout.end(), -1);
  largest_partner_count_ = 0;
  for (int64_t c = 0; c < classes; ++c) {
    // Rows of the memory among themselves are nobody's partners.
    const bool has_anchor = order_[class_start_[c]] < anchors_;
    const int64_t partners = has_anchor ? class_start_[c + 1] - class_start_[c] - 1 : 0;
    if (all_positive_ && partners > kMostPartners && needs_mean_of_positives(softmax.row_loss)) {
      large_class_[c] = large_class_count();
      large_classes_.push_back(c);
    } else {
      largest_partner_count_ = std::max(largest_partner_count_, partners);
    }
    for (int64_t k = class_start_[c]; k < class_start_[c + 1]; ++k) {
      const int64_t i = order_[k];
      // The members of a large class stay in the matrix, if they are in the denominator; only the pair (i, i) is left out.
      row_large_class_[i] = int32_t(large_class_[c]);
      groups_[i] = int32_t(large_class_[c] >= 0 && has_positives(softmax.row_loss) ? classes + i : c);
      if (partners > 0 && i < anchors_) first_positives_[i] = order_[k == class_start_[c] ? k + 1 : class_start_[c]];
    }
  }
}

int64_t Pairs::bytes() const {
  return bytes_of(groups_) + bytes_of(groups_of_own_) + bytes_of(ids_) + bytes_of(bias_) + bytes_of(first_positives_) +
         bytes_of(known_ids_) + bytes_of(order_) + bytes_of(class_start_) + bytes_of(class_of_) +
         bytes_of(large_class_) + bytes_of(large_classes_) + bytes_of(row_large_class_) + bytes_of(anchor_start_) +
         bytes_of(anchors_by_positive_) + further_.bytes();
}

void Pairs::build_classes_of_views(int64_t rows, int64_t views) {
  const int64_t samples = rows / views;
  order_.resize(rows);
  class_of_.resize(rows);
  class_start_.resize(samples + 1);
  for (int64_t b = 0; b <= samples; ++b) class_start_[b] = b * views;
  for (int64_t v = 0, i = 0; v < views; ++v)
    for (int64_t b = 0; b < samples; ++b, ++i) order_[b * views + v] = i, class_of_[i] = b;
}

void Pairs::build_classes_of_ids(const infonce_problem &problem, const Layout &layout) {
  // Sorting by keys that change meanwhile is undefined.
  std::vector<int32_t> ids(layout.end());
  class_of_.resize(ids.size());
  class_start_.assign(1, 0);
  order_.clear();
  for (const int matrix : {layout.anchors(), layout.elsewhere()}) {
    if (matrix == kNone) continue;
    const int64_t first = layout.first(matrix), rows = layout.rows(matrix);
    std::copy_n(problem.matrices[matrix].ids, rows, ids.begin() + first);
    for (int64_t r = 0; r < rows; ++r) order_.push_back(first + r);
  }
  std::sort(order_.begin(), order_.end(),
            [&](int64_t a, int64_t b) { return ids[a] != ids[b] ? ids[a] < ids[b] : a < b; });
  const int64_t rows = int64_t(order_.size());
  for (int64_t k = 0; k < rows; ++k) {
    if (k > 0 && ids[order_[k]] != ids[order_[k - 1]]) class_start_.push_back(k);
    class_of_[order_[k]] = int64_t(class_start_.size()) - 1;
  }
  class_start_.push_back(rows);
}

void Pairs::copy_ids(const infonce_problem &problem, const Layout &layout) {
  ids_.clear();
  partners_have_ids_ = false;
  for (int b = 0; b < problem.block_count; ++b) {
    const infonce_block &block = problem.blocks[b];
    if (!leaves_out_by_id(block)) continue;
    ids_.resize(layout.end());
    partners_have_ids_ |= is_triangle(block) && !all_positive_;
    for (const int matrix : {block.anchors, block.candidates})
      std::copy_n(problem.matrices[matrix].ids, layout.rows(matrix), ids_.begin() + layout.first(matrix));
  }
}

void Pairs::copy_bias(const infonce_problem &problem, const Layout &layout) {
  bias_.clear();
  for (int m = 0; m < problem.matrix_count; ++m) {
    if (!problem.matrices[m].bias) continue;
    bias_.resize(layout.end());
    const int64_t first = layout.first(m);
    for (int64_t j = 0; j < layout.rows(m); ++j) {
      bias_[first + j] = problem.matrices[m].bias[j];
      if (std::isinf(bias_[first + j])) groups_[first + j] = -1;
    }
  }
}

}  // namespace infonce::cpu

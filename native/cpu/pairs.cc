#include "cpu/pairs.h"

#include <algorithm>

#include "cpu/memory.h"

namespace infonce::cpu {
namespace {
constexpr int64_t kMostPartners = 16;  // above, a class costs less through its sum
constexpr int64_t kBytesOfRow = 48;    // over all vectors

template <class T> int64_t bytes_of(const std::vector<T> &values) { return int64_t(values.size() * sizeof(T)); }

}  // namespace

void Pairs::build(const infonce_problem &problem) {
  const Towers towers(problem);
  const int64_t rows = towers.rows_of(kAnchors), padded_anchors = towers.padded_rows_of(kAnchors);
  const int64_t padded_candidates = towers.padded_rows_of(towers.candidates());
  require_memory((padded_anchors + padded_candidates) * kBytesOfRow);
  anchors_ = rows;
  one_tower_ = towers.one_tower();
  const int32_t positive = problem.softmaxes[0].positive;
  all_positive_ = positive != INFONCE_POSITIVE_FIRST_VIEW;
  large_classes_.clear();
  anchor_groups_.assign(padded_anchors, -1);
  first_positives_.assign(padded_anchors, -1);

  if (!one_tower_) {
    const bool keys_are_candidates = towers.keys_are_candidates();
    const int64_t candidates = towers.rows_of(towers.candidates());
    candidate_groups_.assign(padded_candidates, -1);
    // Negatives are one group that no anchor belongs to.
    for (int64_t i = 0; i < rows; ++i) anchor_groups_[i] = int32_t(i + 1), first_positives_[i] = i;
    for (int64_t j = 0; j < candidates; ++j) candidate_groups_[j] = keys_are_candidates ? int32_t(j + 1) : 0;
    largest_partner_count_ = 1;
    return;
  }

  if (positive == INFONCE_POSITIVE_SAME_ID) build_classes_of_ids(problem, towers);
  else build_classes_of_views(rows, problem.matrices[towers.matrix_of(kAnchors)].views);

  const int64_t classes = int64_t(class_start_.size()) - 1;
  large_class_.assign(classes, -1);
  row_large_class_.assign(padded_anchors, -1);
  largest_partner_count_ = 0;
  for (int64_t c = 0; c < classes; ++c) {
    // Rows of the memory among themselves are nobody's partners.
    const bool has_anchor = order_[class_start_[c]] < rows;
    const int64_t partners = has_anchor ? class_start_[c + 1] - class_start_[c] - 1 : 0;
    if (all_positive_ && partners > kMostPartners) {
      large_class_[c] = large_class_count();
      large_classes_.push_back(c);
    } else {
      largest_partner_count_ = std::max(largest_partner_count_, partners);
    }
    for (int64_t k = class_start_[c]; k < class_start_[c + 1]; ++k) {
      const int64_t i = order_[k];
      // The members of a large class stay in the matrix; only the pair (i, i) is left out.
      row_large_class_[i] = int32_t(large_class_[c]);
      anchor_groups_[i] = int32_t(large_class_[c] < 0 ? c : classes + i);
      if (partners > 0 && i < rows) first_positives_[i] = order_[k == class_start_[c] ? k + 1 : class_start_[c]];
    }
  }
}

int64_t Pairs::bytes() const {
  return bytes_of(anchor_groups_) + bytes_of(candidate_groups_) + bytes_of(first_positives_) + bytes_of(order_) +
         bytes_of(class_start_) + bytes_of(class_of_) + bytes_of(large_class_) + bytes_of(large_classes_) +
         bytes_of(row_large_class_);
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

void Pairs::build_classes_of_ids(const infonce_problem &problem, const Towers &towers) {
  const int64_t anchors = towers.rows_of(kAnchors);
  const int64_t rows = anchors + (towers.has_memory() ? towers.rows_of(kNegatives) : 0);
  const int32_t *const anchor_ids = problem.matrices[towers.matrix_of(kAnchors)].ids;
  const int32_t *const memory_ids = towers.has_memory() ? problem.matrices[towers.matrix_of(kNegatives)].ids : nullptr;
  // A copy: the caller's may be shared with a thread that writes them, and sorting by changing keys is undefined.
  std::vector<int32_t> ids(towers.padded_rows_of(kAnchors));
  order_.resize(rows);
  class_of_.resize(ids.size());
  class_start_.assign(1, 0);
  for (int64_t k = 0; k < rows; ++k) {
    order_[k] = k < anchors ? k : towers.memory_first() + (k - anchors);
    ids[order_[k]] = k < anchors ? anchor_ids[k] : memory_ids[k - anchors];
  }
  std::sort(order_.begin(), order_.end(),
            [&](int64_t a, int64_t b) { return ids[a] != ids[b] ? ids[a] < ids[b] : a < b; });
  for (int64_t k = 0; k < rows; ++k) {
    if (k > 0 && ids[order_[k]] != ids[order_[k - 1]]) class_start_.push_back(k);
    class_of_[order_[k]] = int64_t(class_start_.size()) - 1;
  }
  class_start_.push_back(rows);
}

}  // namespace infonce::cpu

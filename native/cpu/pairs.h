// Which pairs are treated one by one, exactly and in float64, instead of in the matrix of exponentials: positives, whose
// p - 1 would cancel, and the few rows that share a sample or an id with an anchor.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/towers.h"
#include "infonce/infonce.h"

namespace infonce::cpu {

class Pairs {
 public:
  // Rows are those of the towers; groups of padding rows are negative. Throws OutOfMemory.
  void build(const infonce_problem &problem);
  // Roughly what they take.
  int64_t bytes() const;

  // Pairs of equal group are no candidates of the matrix part.
  const int32_t *anchor_groups() const { return anchor_groups_.data(); }
  const int32_t *candidate_groups() const { return one_tower_ ? anchor_groups_.data() : candidate_groups_.data(); }

  // The row, of the tower of positives, whose logit ranks anchor i; -1: none. Padded with -1.
  const int64_t *first_positives() const { return first_positives_.data(); }
  // 0 for rows of a memory and for padding: they have no loss.
  int64_t positive_count(int64_t i) const {
    if (i >= anchors_) return 0;
    if (!one_tower_ || !all_positive_) return 1;
    return class_size(i) - 1;
  }

  // Classes too large to go through pair by pair; their positives are summed up instead. -1: not in one.
  int64_t large_class(int64_t i) const { return has_large_classes() ? large_class_[class_of(i)] : -1; }
  bool has_large_classes() const { return !large_classes_.empty(); }
  int64_t large_class_count() const { return int64_t(large_classes_.size()); }
  const int32_t *large_classes() const { return row_large_class_.data(); }  // by row, padded with -1
  template <class Visit> void for_each_member(int64_t large_class, Visit &&visit) const {
    const int64_t c = large_classes_[large_class];
    for (int64_t k = class_start_[c]; k < class_start_[c + 1]; ++k) visit(order_[k]);
  }

  // The most partners any anchor has.
  int64_t largest_partner_count() const { return largest_partner_count_; }

  // In one tower, the partner of anchor i in this slot; -1: it has fewer.
  int64_t partner(int64_t i, int64_t slot) const {
    if (large_class(i) >= 0 || slot >= class_size(i) - 1) return -1;
    const int64_t k = class_start_[class_of(i)] + slot;
    return order_[k] < i ? order_[k] : order_[k + 1];
  }

  // visit(partner row, is a positive of anchor i). In one tower partners are mutual.
  template <class Visit> void for_each_partner(int64_t i, Visit &&visit) const {
    if (!one_tower_) return visit(i, true);
    if (large_class(i) >= 0) return;
    const int64_t c = class_of(i);
    for (int64_t k = class_start_[c]; k < class_start_[c + 1]; ++k)
      if (order_[k] != i) visit(order_[k], all_positive_ || order_[k] == first_positives_[i]);
  }

 private:
  void build_classes_of_views(int64_t rows, int64_t views);
  void build_classes_of_ids(const infonce_problem &problem, const Towers &towers);
  int64_t class_of(int64_t i) const { return class_of_[i]; }
  int64_t class_size(int64_t i) const { return class_start_[class_of(i) + 1] - class_start_[class_of(i)]; }

  int64_t anchors_ = 0;
  bool one_tower_ = false;
  bool all_positive_ = false;
  int64_t largest_partner_count_ = 0;
  std::vector<int32_t> anchor_groups_, candidate_groups_;
  std::vector<int64_t> first_positives_;
  std::vector<int64_t> order_, class_start_;  // rows by class, ascending within one
  std::vector<int64_t> class_of_;
  std::vector<int64_t> large_class_, large_classes_;  // by class; the classes
  std::vector<int32_t> row_large_class_;
};

}  // namespace infonce::cpu

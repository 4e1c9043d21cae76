// The pairs that are computed one by one in float64, instead of in the matrix of exponentials: positives, whose p - 1
// would cancel, and the few rows that share a sample or an id with an anchor.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/further_positives.h"
#include "cpu/layout.h"
#include "infonce/infonce.h"

namespace infonce::cpu {

class Pairs {
 public:
  // Rows are those of the layout. Copies what it needs of ids, targets and biases, which the caller may share with a
  // thread that writes them. Throws OutOfMemory.
  void build(const infonce_problem &problem, const Layout &layout);
  // Roughly what they take.
  int64_t bytes() const;

  static constexpr int32_t kNoGroup = INT32_MAX;  // of candidates that are nobody's pairs
  // By row. Pairs of equal group are no candidates of the matrix part, nor is what has a negative one: padding, and
  // candidates whose bias is -infinity.
  const int32_t *groups() const { return groups_.data(); }
  // The same in blocks in which rows have candidates of their own.
  const int32_t *groups_of_own() const { return groups_of_own_.data(); }
  const int32_t *ids() const { return ids_.empty() ? nullptr : ids_.data(); }  // where a block leaves out by them
  bool has_bias() const { return !bias_.empty(); }
  double bias(int64_t row) const { return bias_.empty() ? 0 : double(bias_[row]); }

  // The row whose logit ranks anchor i; -1: none. Padded with -1.
  const int64_t *first_positives() const { return first_positives_.data(); }
  int64_t first_positive_of(int64_t row) const { return row < anchors_ ? first_positives_[row] : -1; }
  // 0 for padding and for rows of a memory: they have no loss.
  int64_t positive_count(int64_t i) const {
    if (i >= anchors_) return 0;
    if (!one_tower_ || !all_positive_) return 1;
    return class_size(i) - 1;
  }

  // Classes too large to go through pair by pair; their positives are summed up instead. -1: not in one.
  int64_t large_class(int64_t i) const { return has_large_classes() ? large_class_[class_of_[i]] : -1; }
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
    const int64_t k = class_start_[class_of_[i]] + slot;
    return order_[k] < i ? order_[k] : order_[k + 1];
  }

  // Beside the partners.
  const FurtherPositives &further() const { return further_; }

  // Of the sigmoid loss with positives by id: the group of a candidate that comes in a part.
  int32_t group_of_id(int32_t id) const;

  // False of the sigmoid loss: its positives are in the matrix part, where pairs of equal group are.
  bool are_apart() const { return are_apart_; }

  // visit(partner row, is a positive of anchor i). In one tower partners are mutual.
  template <class Visit> void for_each_partner(int64_t i, Visit &&visit) const {
    if (!one_tower_) {
      if (are_apart_) visit(first_positives_[i], true);
      return;
    }
    if (large_class(i) >= 0) return;
    const int64_t c = class_of_[i];
    for (int64_t k = class_start_[c]; k < class_start_[c + 1]; ++k)
      if (order_[k] != i) visit(order_[k], is_positive(i, order_[k]));
  }

  // Whether partner j counts in the loss of anchor i: a positive, or not left out by its id.
  bool counts(int64_t i, int64_t j, bool is_positive) const {
    return is_positive || !partners_have_ids_ || ids_[i] != ids_[j];
  }

  // Whether every partner is a positive.
  bool all_positive() const { return all_positive_; }
  // Of a partner.
  bool is_positive(int64_t i, int64_t j) const { return all_positive_ || j == first_positives_[i]; }

  // Of positives by index: visit(anchor) for each whose positive is row j of their matrix, in ascending order.
  template <class Visit> void for_each_anchor_of(int64_t j, Visit &&visit) const {
    if (!are_apart_) return;
    if (anchor_start_.empty()) {
      if (j < anchors_) visit(j);
      return;
    }
    for (int64_t k = anchor_start_[j]; k < anchor_start_[j + 1]; ++k) visit(anchors_by_positive_[k]);
  }

 private:
  void group_own(const infonce_problem &problem, const Layout &layout);
  void build_one_each(const infonce_problem &problem, const Layout &layout);
  void build_sigmoid(const infonce_problem &problem, const Layout &layout);
  void build_classes(const infonce_problem &problem, const Layout &layout);
  void build_classes_of_views(int64_t rows, int64_t views);
  void build_classes_of_ids(const infonce_problem &problem, const Layout &layout);
  void copy_ids(const infonce_problem &problem, const Layout &layout);
  void copy_bias(const infonce_problem &problem, const Layout &layout);
  int64_t class_size(int64_t i) const { return class_start_[class_of_[i] + 1] - class_start_[class_of_[i]]; }

  int64_t anchors_ = 0;
  bool one_tower_ = false;
  bool are_apart_ = true;
  bool all_positive_ = false;
  bool partners_have_ids_ = false;  // by which the triangle leaves out
  int64_t largest_partner_count_ = 0;
  std::vector<int32_t> groups_, groups_of_own_, ids_;
  std::vector<float> bias_;
  std::vector<int32_t> known_ids_;  // of the sigmoid loss, ascending; a group is the place of an id
  std::vector<int64_t> first_positives_;
  std::vector<int64_t> order_, class_start_;  // rows by class, ascending within one
  std::vector<int64_t> class_of_;
  std::vector<int64_t> large_class_, large_classes_;  // by class; the classes
  std::vector<int32_t> row_large_class_;
  FurtherPositives further_;
  std::vector<int64_t> anchor_start_, anchors_by_positive_;  // of positives by target
};

}  // namespace infonce::cpu

// Positives by id, besides each anchor's positive by index: pairs that a block leaves out, each with a term of its own.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/layout.h"
#include "infonce/infonce.h"

namespace infonce::cpu {

class FurtherPositives {
 public:
  // `groups` and `first_positives` are those of Pairs: what has a negative group is no candidate. Copies the ids, which
  // the caller may share with a thread that writes them.
  void build(const infonce_problem &problem, const Layout &layout, const std::vector<int32_t> &groups,
             const std::vector<int64_t> &first_positives);

  bool exist() const { return !id_of_.empty(); }
  bool are_in(int matrix) const { return exist() && (matrices_ >> matrix & 1) != 0; }
  int64_t bytes() const;

  // visit(row of the layout) for each of an anchor, in ascending order.
  template <class Visit> void for_each_of(int64_t anchor, Visit &&visit) const {
    if (exist())
      for_each(id_of_[anchor], candidates_, candidate_start_, [&](int64_t j) {
        if (j != positives_[anchor]) visit(j);
      });
  }
  // visit(anchor) for each whose further positive this row of the layout is, in ascending order.
  template <class Visit> void for_each_anchor_of(int64_t row, Visit &&visit) const {
    if (exist())
      for_each(id_of_[row], anchors_, anchor_start_, [&](int64_t i) {
        if (positives_[i] != row) visit(i);
      });
  }

  // How many these are; of a row that is the first positive of one anchor, `own`, alone.
  int64_t count_of(int64_t anchor) const;
  int64_t anchor_count_of(int64_t row, int64_t own) const;

 private:
  template <class Visit>
  static void for_each(int32_t id, const std::vector<int64_t> &rows, const std::vector<int64_t> &start, Visit &&visit) {
    for (int64_t k = id < 0 ? 0 : start[id], end = id < 0 ? 0 : start[id + 1]; k < end; ++k) visit(rows[k]);
  }
  void leave_out_targets(const infonce_problem &problem, const Layout &layout, const std::vector<int32_t> &groups);
  static void sort_by_id(const std::vector<int32_t> &id_of, int64_t ids, std::vector<int64_t> *rows,
                         std::vector<int64_t> *start);

  uint32_t matrices_ = 0;  // bits: whose rows may be further positives
  std::vector<int32_t>
      id_of_;  // by row of the layout: which of the anchors' ids, -1: none of them. Empty: there are none
  std::vector<int64_t> candidates_, candidate_start_, anchors_, anchor_start_;  // by id, ascending within one
  std::vector<int64_t> positives_;  // of each anchor the row of the layout that is its positive by index; -1: none
};

}  // namespace infonce::cpu

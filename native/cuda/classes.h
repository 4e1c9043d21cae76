// The order of prepared rows and the ranges of pairs around the diagonal, where a formula does not give them.
#pragma once

#include <cstdint>
#include <vector>

#include "common/form.h"
#include "cuda/kernels/rows.h"
#include "infonce/infonce.h"

namespace infonce::cuda {

// Whether positives by id may come in parts of an opened call.
inline bool meets_by_id(const infonce_problem &problem) {
  return problem.softmaxes[0].positive == INFONCE_POSITIVE_SAME_ID;
}

struct Classes {
  // Rows by id, ascending within one; or by sample. Those of a memory apart, in the same order of ids.
  Classes() = default;
  // `opened`: further candidates come in parts.
  explicit Classes(const infonce_problem &problem, bool opened = false);

  // Whether the host brings any of it to the device.
  bool are_brought() const {
    return !order.empty() || !apart.empty() || !members.empty() || has_targets() || !anchors_of_keys.empty() ||
           !memory_order.empty() || !memory_apart.empty() || !memory_members.empty() || !firsts.empty();
  }

  // Positives by target, or by index among more keys than there are anchors.
  bool has_targets() const { return !targets.empty(); }

  std::vector<int32_t> order;     // prepared row -> row of the input; empty: samples of views in a row
  std::vector<Range> apart;       // by prepared row; empty: samples of views, or each row by itself
  std::vector<Range> members;     // by prepared row: of its large class; empty without large classes
  std::vector<int32_t> class_of;  // by prepared row: its large class or -1; empty without
  std::vector<Range> large;       // the large classes
  int64_t most_partners = 1;      // that any row has outside large classes

  // With positives by target: the anchors stand by target, so that both kinds of ranges never decrease. Empty without.
  std::vector<Range> targets;          // by prepared row of the anchors: its key
  std::vector<Range> anchors_of_keys;  // by key

  // The same of a memory's rows, by the anchors' prepared rows; empty without one.
  std::vector<int32_t> memory_order;
  std::vector<Range> memory_apart, memory_members, memory_large;

  // Where positives by id are not known yet: by row of the anchors, which of them is the first, or -2 less which row of
  // first_positives_in(problem) and, behind these, of the memory; -1: there is none. Empty elsewhere.
  std::vector<int32_t> firsts;

 private:
  void find_firsts(const infonce_problem &problem);
  void find_firsts_in_memory(const infonce_problem &problem);
  void sort_by_target(const infonce_problem &problem);
};

}  // namespace infonce::cuda

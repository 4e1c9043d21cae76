#include "cuda/classes.h"

#include <algorithm>
#include <numeric>

#include "common/constants.h"
#include "common/form.h"
#include "common/row_loss.h"

namespace infonce::cuda {
namespace {

// Rows by id, ascending within one.
std::vector<int32_t> rows_by_id(const std::vector<int32_t> &ids) {
  const int64_t rows = int64_t(ids.size());
  const auto [least, most] = std::minmax_element(ids.begin(), ids.end());
  const int64_t lowest = *least, kinds = int64_t(*most) - lowest + 1;
  std::vector<int32_t> order(rows);
  if (kinds <= 4 * rows) {  // counting
    std::vector<int64_t> next(kinds + 1, 0);
    for (const int32_t id : ids) ++next[id - lowest + 1];
    std::partial_sum(next.begin(), next.end(), next.begin());
    for (int64_t i = 0; i < rows; ++i) order[next[ids[i] - lowest]++] = int32_t(i);
    return order;
  }
  std::vector<uint64_t> keys(rows);
  for (int64_t i = 0; i < rows; ++i) keys[i] = uint64_t(ids[i] - lowest) << 32 | uint64_t(i);
  std::sort(keys.begin(), keys.end());
  for (int64_t i = 0; i < rows; ++i) order[i] = int32_t(uint32_t(keys[i]));
  return order;
}

}  // namespace

Classes::Classes(const infonce_problem &problem, bool opened) {
  const infonce_matrix &anchors = problem.matrices[problem.softmaxes[0].anchors];
  const int32_t positive = problem.softmaxes[0].positive;
  const int memory_matrix = memory_of(problem);
  const int64_t rows = anchors.rows;
  if (!positives_are_anchors(problem.softmaxes[0])) {
    sort_by_target(problem);
    return;
  }
  if (opened && meets_by_id(problem)) {
    find_firsts(problem);
    return;
  }
  std::vector<int32_t> ids, memory_ids;
  std::vector<int64_t> ends;  // of the classes
  if (positive == INFONCE_POSITIVE_SAME_ID) {
    // A copy: the caller's may be shared with a thread that writes them.
    ids.assign(anchors.ids, anchors.ids + rows);
    order = rows_by_id(ids);
    for (int64_t r = 1; r <= rows; ++r)
      if (r == rows || ids[order[r]] != ids[order[r - 1]]) ends.push_back(r);
    if (memory_matrix != kNone) {
      const infonce_matrix &memory = problem.matrices[memory_matrix];
      memory_ids.assign(memory.ids, memory.ids + memory.rows);
      memory_order = rows_by_id(memory_ids);
      memory_apart.resize(rows);
    }
  } else if (positive == INFONCE_POSITIVE_ALL_VIEWS && anchors.views - 1 > kMostPartners) {
    for (int64_t end = anchors.views; end <= rows; end += anchors.views) ends.push_back(end);
  } else {
    most_partners = anchors.views - 1;
    return;
  }

  apart.resize(rows);
  int64_t first = 0, memory_end = 0;
  for (const int64_t end : ends) {
    const Range whole = {int32_t(first), int32_t(end)};
    // Without members there it is empty, but stands where they would: ranges never decrease along the rows.
    int64_t memory_first = memory_end;
    const auto memory_id = [&](int64_t r) { return memory_ids[memory_order[r]]; };
    const int64_t memory_rows = int64_t(memory_order.size());
    while (memory_first < memory_rows && memory_id(memory_first) < ids[order[first]]) ++memory_first;
    memory_end = memory_first;
    while (memory_end < memory_rows && memory_id(memory_end) == ids[order[first]]) ++memory_end;
    const Range in_memory = {int32_t(memory_first), int32_t(memory_end)};
    const Range none_in_memory = {int32_t(memory_first), int32_t(memory_first)};

    const int64_t partners = whole.size() + in_memory.size() - 1;
    // What is not in the denominator, or has a logit that counts by itself, is treated pair by pair, however much it is.
    const int32_t row_loss = problem.softmaxes[0].row_loss;
    const bool is_large = partners > kMostPartners && has_positives(row_loss) && needs_mean_of_positives(row_loss) &&
                          problem.softmaxes[0].label_smoothing == 0;
    if (is_large && large.empty()) {
      class_of.assign(rows, -1);
      members.resize(rows);
      for (int64_t r = 0; r < rows; ++r) members[r] = {int32_t(r), int32_t(r)};
      memory_members = memory_apart;  // of the classes before: empty ranges where theirs begin
      for (Range &range : memory_members) range.end = range.first;
    }
    for (int64_t r = first; r < end; ++r) {
      // The members of a large class stay in the matrix; only the pair (i, i) is left out.
      apart[r] = is_large ? Range{int32_t(r), int32_t(r + 1)} : whole;
      if (is_large) members[r] = whole, class_of[r] = int32_t(large.size());
      if (memory_rows == 0) continue;
      memory_apart[r] = is_large ? none_in_memory : in_memory;
      if (!members.empty()) memory_members[r] = is_large ? in_memory : none_in_memory;
    }
    if (!is_large) most_partners = std::max(most_partners, partners);
    else large.push_back(whole);
    if (is_large && memory_rows > 0) memory_large.push_back(in_memory);
    first = end;
  }
}

void Classes::find_firsts(const infonce_problem &problem) {
  const infonce_softmax &softmax = problem.softmaxes[0];
  const infonce_matrix &anchors = problem.matrices[softmax.anchors];
  const int64_t rows = anchors.rows;
  // A copy: the caller's may be shared with a thread that writes them.
  const std::vector<int32_t> ids(anchors.ids, anchors.ids + rows), by_id = rows_by_id(ids);
  firsts.assign(ids.size(), -1);
  most_partners = 0;
  int64_t begin = 0;  // of the class
  for (int64_t r = 1; r < rows; ++r) {
    const int32_t first = by_id[begin];
    if (ids[by_id[r]] != ids[first]) {
      begin = r;
      continue;
    }
    firsts[by_id[r]] = first;
    if (r == begin + 1) firsts[first] = by_id[r];
  }
  find_firsts_in_memory(problem);
  for (int64_t i = 0; softmax.first_positives && i < rows; ++i)
    if (softmax.first_positives[i] >= 0) firsts[i] = -2 - softmax.first_positives[i];
}

// Of rows that no other anchor is a positive of.
void Classes::find_firsts_in_memory(const infonce_problem &problem) {
  const int matrix = memory_of(problem);
  if (matrix == kNone || problem.matrices[matrix].rows == 0) return;
  const infonce_matrix &memory = problem.matrices[matrix];
  const std::vector<int32_t> ids(memory.ids, memory.ids + memory.rows), by_id = rows_by_id(ids);
  const int elsewhere = first_positives_in(problem);
  const int64_t before = elsewhere == kNone ? 0 : problem.matrices[elsewhere].rows;
  const int32_t *const anchor_ids = problem.matrices[problem.softmaxes[0].anchors].ids;
  for (size_t i = 0; i < firsts.size(); ++i) {
    if (firsts[i] != -1) continue;
    const auto found = std::lower_bound(by_id.begin(), by_id.end(), anchor_ids[i],
                                        [&](int32_t row, int32_t id) { return ids[row] < id; });
    if (found != by_id.end() && ids[*found] == anchor_ids[i]) firsts[i] = int32_t(-2 - before - *found);
  }
}

void Classes::sort_by_target(const infonce_problem &problem) {
  const infonce_softmax &softmax = problem.softmaxes[0];
  if (is_sigmoid(problem)) return;
  const int64_t rows = rows_of(problem, 0), keys = problem.matrices[positives_elsewhere(softmax)].rows;
  const bool by_target = softmax.positive == INFONCE_POSITIVE_TARGET;
  if (has_own_candidates_alone(problem) || (!by_target && rows == keys)) return;
  std::vector<int32_t> target_of(rows);
  if (by_target) {
    // A copy, and no row that there is not: the caller's may be shared with a thread that writes them.
    std::transform(softmax.targets, softmax.targets + rows, target_of.begin(),
                   [&](int32_t target) { return std::clamp(target, 0, int32_t(keys - 1)); });
    order = rows_by_id(target_of);
  } else {
    std::iota(target_of.begin(), target_of.end(), 0);
  }
  targets.resize(rows);
  anchors_of_keys.resize(keys);
  int64_t r = 0;
  for (int64_t key = 0; key < keys; ++key) {
    const int64_t first = r;
    for (; r < rows && target_of[order.empty() ? r : order[r]] == key; ++r)
      targets[r] = {int32_t(key), int32_t(key + 1)};
    anchors_of_keys[key] = {int32_t(first), int32_t(r)};
  }
}

}  // namespace infonce::cuda

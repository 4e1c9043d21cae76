#include "cuda/classes.h"

#include <algorithm>
#include <numeric>

namespace infonce::cuda {
namespace {

constexpr int64_t kMostPartners = 16;  // above, a class costs less through its sum

// Rows by label, ascending within one.
std::vector<int32_t> rows_by_label(const std::vector<int32_t> &labels) {
  const int64_t rows = int64_t(labels.size());
  const auto [least, most] = std::minmax_element(labels.begin(), labels.end());
  const int64_t lowest = *least, kinds = int64_t(*most) - lowest + 1;
  std::vector<int32_t> order(rows);
  if (kinds <= 4 * rows) {  // counting
    std::vector<int64_t> next(kinds + 1, 0);
    for (const int32_t label : labels) ++next[label - lowest + 1];
    std::partial_sum(next.begin(), next.end(), next.begin());
    for (int64_t i = 0; i < rows; ++i) order[next[labels[i] - lowest]++] = int32_t(i);
    return order;
  }
  std::vector<uint64_t> keys(rows);
  for (int64_t i = 0; i < rows; ++i) keys[i] = uint64_t(labels[i] - lowest) << 32 | uint64_t(i);
  std::sort(keys.begin(), keys.end());
  for (int64_t i = 0; i < rows; ++i) order[i] = int32_t(uint32_t(keys[i]));
  return order;
}

}  // namespace

Classes::Classes(const infonce_problem &problem) {
  const int64_t rows = problem.rows;
  std::vector<int64_t> ends;  // of the classes
  if (problem.positive == INFONCE_POSITIVE_SAME_LABEL) {
    // A copy: the caller's may be shared with a thread that writes them.
    const std::vector<int32_t> labels(problem.labels, problem.labels + rows);
    order = rows_by_label(labels);
    for (int64_t r = 1; r <= rows; ++r)
      if (r == rows || labels[order[r]] != labels[order[r - 1]]) ends.push_back(r);
  } else if (problem.positive == INFONCE_POSITIVE_ALL_VIEWS && problem.views - 1 > kMostPartners) {
    for (int64_t end = problem.views; end <= rows; end += problem.views) ends.push_back(end);
  } else {
    most_partners = problem.positive == INFONCE_POSITIVE_SAME_INDEX ? 1 : problem.views - 1;
    return;
  }

  apart.resize(rows);
  int64_t first = 0;
  for (const int64_t end : ends) {
    const Range whole = {int32_t(first), int32_t(end)};
    const bool is_large = end - first - 1 > kMostPartners;
    if (is_large && large.empty()) {
      class_of.assign(rows, -1);
      members.resize(rows);
      for (int64_t r = 0; r < rows; ++r) members[r] = {int32_t(r), int32_t(r)};
    }
    for (int64_t r = first; r < end; ++r) {
      // The members of a large class stay in the matrix; only the pair (i, i) is left out.
      apart[r] = is_large ? Range{int32_t(r), int32_t(r + 1)} : whole;
      if (is_large) members[r] = whole, class_of[r] = int32_t(large.size());
    }
    if (is_large)
      large.push_back(whole);
    else
      most_partners = std::max(most_partners, end - first - 1);
    first = end;
  }
}

}  // namespace infonce::cuda

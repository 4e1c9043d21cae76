#include "cuda/classes.h"

#include <algorithm>
#include <numeric>

namespace infonce::cuda {
namespace {
constexpr int64_t kMostPartners = 16;  // above, a class costs less through its sum
}

Classes::Classes(const infonce_problem &problem) {
  const int64_t rows = problem.rows;
  std::vector<int64_t> ends;  // of the classes
  if (problem.positive == INFONCE_POSITIVE_SAME_LABEL) {
    // A copy: the caller's may be shared with a thread that writes them, and sorting by changing keys is undefined.
    const std::vector<int32_t> labels(problem.labels, problem.labels + rows);
    order.resize(rows);
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(),
              [&](int32_t a, int32_t b) { return labels[a] != labels[b] ? labels[a] < labels[b] : a < b; });
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
    if (is_large) large.push_back(whole);
    else most_partners = std::max(most_partners, end - first - 1);
    first = end;
  }
}

}  // namespace infonce::cuda

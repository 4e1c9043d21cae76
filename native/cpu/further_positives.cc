#include "cpu/further_positives.h"

#include <algorithm>
#include <numeric>

#include "cpu/memory.h"
#include "cpu/passes.h"

namespace infonce::cpu {

void FurtherPositives::build(const infonce_problem &problem, const Layout &layout, const std::vector<int32_t> &groups,
                             const std::vector<int64_t> &first_positives) {
  matrices_ = 0;
  id_of_.clear();
  if (!has_further_positives(problem)) return;
  constexpr int64_t kBytesOfRow = 32;  // over all vectors
  require_memory(layout.end() * kBytesOfRow);
  const int64_t anchors = layout.rows(layout.anchors());
  const int32_t *given = problem.matrices[layout.anchors()].ids;
  const std::vector<int32_t> ids(given, given + anchors);
  std::vector<int32_t> known = ids;
  std::sort(known.begin(), known.end());
  known.erase(std::unique(known.begin(), known.end()), known.end());
  const auto number_of = [&](int32_t id) {
    const auto found = std::lower_bound(known.begin(), known.end(), id);
    return found != known.end() && *found == id ? int32_t(found - known.begin()) : -1;
  };

  positives_.assign(first_positives.begin(), first_positives.begin() + anchors);
  leave_out_targets(problem, layout, groups);
  id_of_.assign(layout.end(), -1);
  candidates_.clear();
  anchors_.resize(anchors);
  std::iota(anchors_.begin(), anchors_.end(), 0);
  std::transform(ids.begin(), ids.end(), id_of_.begin(), number_of);
  for (int k = 0; k < layout.count(); ++k) {
    const int matrix = layout.matrix(k);
    const bool has_some = std::any_of(problem.blocks, problem.blocks + problem.block_count, [&](const auto &block) {
      return has_further_positives(block) && block.candidates == matrix;
    });
    if (!has_some) continue;
    matrices_ |= uint32_t(1) << matrix;
    for (int64_t j = layout.first(matrix), end = j + layout.rows(matrix), row = 0; j < end; ++j, ++row) {
      id_of_[j] = groups[j] < 0 ? -1 : number_of(problem.matrices[matrix].ids[row]);
      if (id_of_[j] >= 0) candidates_.push_back(j);
    }
  }
  sort_by_id(id_of_, int64_t(known.size()), &candidates_, &candidate_start_);
  sort_by_id(id_of_, int64_t(known.size()), &anchors_, &anchor_start_);
}

// Where positives by index are candidates elsewhere, too, an anchor's is told by its number.
void FurtherPositives::leave_out_targets(const infonce_problem &problem, const Layout &layout,
                                         const std::vector<int32_t> &groups) {
  for (int b = 0; b < problem.block_count; ++b) {
    if (!leaves_out_target(problem.blocks[b])) continue;
    const int matrix = problem.blocks[b].candidates;
    for (size_t i = 0; i < positives_.size(); ++i) {
      const int64_t row = groups[i] - problem.matrices[matrix].first_number;
      positives_[i] = row >= 0 && row < layout.rows(matrix) ? layout.first(matrix) + row : -1;
    }
  }
}

int64_t FurtherPositives::count_of(int64_t anchor) const {
  const int32_t id = id_of_[anchor];
  const int64_t positive = positives_[anchor];
  return candidate_start_[id + 1] - candidate_start_[id] - (positive >= 0 && id_of_[positive] == id ? 1 : 0);
}

int64_t FurtherPositives::anchor_count_of(int64_t row, int64_t own) const {
  const int32_t id = id_of_[row];
  return id < 0 ? 0 : anchor_start_[id + 1] - anchor_start_[id] - (id_of_[own] == id ? 1 : 0);
}

// The rows ascend.
void FurtherPositives::sort_by_id(const std::vector<int32_t> &id_of, int64_t ids, std::vector<int64_t> *rows,
                                  std::vector<int64_t> *start) {
  start->assign(ids + 1, 0);
  for (const int64_t row : *rows) ++(*start)[id_of[row] + 1];
  std::partial_sum(start->begin(), start->end(), start->begin());
  std::vector<int64_t> next(start->begin(), start->end() - 1), sorted(rows->size());
  for (const int64_t row : *rows) sorted[next[id_of[row]]++] = row;
  rows->swap(sorted);
}

int64_t FurtherPositives::bytes() const {
  const size_t of_rows =
      candidates_.size() + candidate_start_.size() + anchors_.size() + anchor_start_.size() + positives_.size();
  return exist() ? int64_t(id_of_.size() * sizeof(int32_t) + of_rows * sizeof(int64_t)) : 0;
}

template <class Scalar> int64_t Passes<Scalar>::further_count(int softmax, int64_t i) const {
  const FurtherPositives &further = pairs_.further();
  if (!further.exist()) return 0;
  const int64_t row = layout_.first(problem_.softmaxes[softmax].anchors) + i;
  return met_count(softmax, i) + (softmax == 0 ? further.count_of(i) : further.anchor_count_of(row, i));
}

// d loss / d (logit of anchor i and its further positive, row j of the layout), of every softmax that has the pair.
template <class Scalar> double Passes<Scalar>::weight_of_further(int64_t i, int64_t j, int thread) {
  const double s = logit_of_any(i, j, thread);
  const auto weight = [&](int softmax, int64_t row) {
    return upstream_.relative(row) *
           RowLoss<INFONCE_ROW_LOSS_CROSS_ENTROPY>::pair_weight(true, 1 + further_count(softmax, row), s,
                                                                softmaxes[softmax].log_sum_exp[row], 0);
  };
  const Layout::Place at = layout_.place_of_any(j);
  const bool both = softmax_count() > 1 && at.matrix == problem_.softmaxes[1].anchors;
  return both ? weight(0, i) + weight(1, at.row) : weight(0, i);
}

template <class Scalar>
void Passes<Scalar>::add_further(int matrix, int64_t first, int64_t count, Scalar *accumulators,
                                 int64_t accumulator_rows, int thread) {
  const FurtherPositives &further = pairs_.further();
  for (int64_t r = 0; r < count; ++r) {
    Scalar *const row = accumulators + r * kernels_.panel;
    const auto add = [&](int64_t i, int64_t j, const Layout::Place &other) {
      kernels_.add_row(row, accumulator_rows, weight_of_further(i, j, thread), operand(other.matrix, thread),
                       other.row);
    };
    if (matrix == layout_.anchors())
      further.for_each_of(first + r, [&](int64_t j) { add(first + r, j, layout_.place_of_any(j)); });
    else if (further.are_in(matrix))
      further.for_each_anchor_of(layout_.first(matrix) + first + r, [&](int64_t i) {
        add(i, layout_.first(matrix) + first + r, {layout_.anchors(), i});
      });
  }
}

template int64_t Passes<float>::further_count(int, int64_t) const;
template int64_t Passes<double>::further_count(int, int64_t) const;
template double Passes<float>::weight_of_further(int64_t, int64_t, int);
template double Passes<double>::weight_of_further(int64_t, int64_t, int);
template void Passes<float>::add_further(int, int64_t, int64_t, float *, int64_t, int);
template void Passes<double>::add_further(int, int64_t, int64_t, double *, int64_t, int);

}  // namespace infonce::cpu

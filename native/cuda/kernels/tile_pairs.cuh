// Pairs and padding within a tile of logits: what the matrix does not count. Few tiles have any; `Sums` are what a warp
// or a warpgroup accumulates.
#pragma once

#include <cmath>

#include "cuda/kernels/sm80_mma.cuh"
#include "cuda/kernels/tasks.h"

namespace infonce::cuda {

// Calls visit(row, row < rows, for_each_column) for the lane's rows of a tile, one after the other; for_each_column
// calls visit(element, column within the part of the warp or warpgroup). For what few tiles need: nothing of a row is
// held in registers beyond it, where the sums are in the way.
template <class Sums, class Visit>
INFONCE_DEVICE void for_each_row(Sums &sums, int64_t first_row, int64_t rows, Visit &&visit) {
#pragma unroll
  for (int m = 0; m < Sums::kRowFragments; ++m)
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int thread = thread_index() % Sums::kThreads;
      const int64_t i = first_row + Sums::row(thread, m, 2 * h);
      visit(i, i < rows, [&](auto &&visit_element) {
#pragma unroll
        for (int n = 0; n < Sums::kColumnFragments; ++n)
#pragma unroll
          for (int side = 0; side < 2; ++side)
            visit_element(sums.at[m][n][2 * h + side], Sums::column(thread, n, side));
      });
      asm volatile("" ::: "memory");
    }
}

// Whether rows [first, end) have candidates [column, column_end) in their ranges, which only grow.
INFONCE_DEVICE bool touches(const Range *ranges, int64_t first, int64_t end, int64_t column, int64_t column_end) {
  return ranges && ranges[first].first < column_end && ranges[end - 1].end > column;
}

// The same for several rows at once.
struct Band {
  int32_t first = 0, end = 0;

  static INFONCE_DEVICE Band of(const Range *ranges, int64_t row, int64_t row_end) {
    if (!ranges || row >= row_end) return {};
    return {ranges[row].first, ranges[row_end - 1].end};
  }
  INFONCE_DEVICE bool touches(int64_t column, int64_t column_end) const { return first < column_end && end > column; }
  // One that holds both.
  INFONCE_DEVICE Band with(const Band &other) const {
    if (first >= end) return other;
    if (other.first >= other.end) return *this;
    return {min(first, other.first), max(end, other.end)};
  }
};

// Sets what must not count to minus infinity: padding, the ranges of the anchor itself and of pairs that are treated
// apart, and pairs of equal id.
template <bool kHasIds = true, class Sums>
INFONCE_DEVICE void mask(Sums &sums, const Pairs &pairs, int64_t first_row, int64_t rows, int64_t first_candidate,
                         int64_t candidates) {
  const int32_t first_column = static_cast<int32_t>(first_candidate), columns = static_cast<int32_t>(candidates);
  for_each_row(sums, first_row, rows, [&](int64_t i, bool real, auto &&for_each_column) {
    const Range apart = real && pairs.apart ? pairs.apart[i] : Range{0, 0};
    for_each_column([&](float &dot, int column) {
      const int32_t j = first_column + column;
      if (!real || j >= columns || apart.holds(j)) dot = -INFINITY;
    });
    if (!kHasIds || !real || !pairs.row_ids) return;
    const int32_t id = pairs.row_ids[i];
    for_each_column([&](float &dot, int column) {
      const int32_t j = first_column + column;
      if (j < columns && pairs.column_ids[j] == id) dot = -INFINITY;
    });
  });
}

// What to take off the exponentials of a tile that holds pairs. Candidates are counted as ranges do, which takes fewer
// registers.
template <bool kHasIds = true, class Sums>
INFONCE_DEVICE void take_pairs_off(Sums &weights, const WeightsOf &task, int64_t first_row, int64_t first_candidate) {
  const int32_t first_column = static_cast<int32_t>(first_candidate);
  for_each_row(weights, first_row, task.owner.rows, [&](int64_t i, bool real, auto &&for_each_column) {
    if (!real) return;
    if (task.pairs.classes) {
      const Range members = task.pairs.classes[i];
      const float target = task.owner_target[i];
      for_each_column([&](float &weight, int column) {
        const int32_t j = first_column + column;
        if (members.holds(j)) weight -= target + task.other_target[j];
      });
    }
    if (task.pairs.apart) {
      const Range apart = task.pairs.apart[i];
      for_each_column([&](float &weight, int column) {
        if (apart.holds(first_column + column)) weight = 0;
      });
    }
    if (kHasIds && task.pairs.row_ids) {
      const int32_t id = task.pairs.row_ids[i];
      for_each_column([&](float &weight, int column) {
        const int32_t j = first_column + column;
        if (j < task.other.rows && task.pairs.column_ids[j] == id) weight = 0;
      });
    }
  });
}

// Padding's unit rows are zeros, but zero times an infinite weight is not: with a running maximum the exponential of
// logit 0 may be anything.
template <class Sums>
INFONCE_DEVICE void take_padding_off(Sums &weights, const WeightsOf &task, int64_t first_row, int64_t first_column) {
  const int columns = static_cast<int>(min(task.other.rows - first_column, int64_t(Sums::kColumns)));
  for_each_row(weights, first_row, task.owner.rows, [&](int64_t, bool real, auto &&for_each_column) {
    for_each_column([&](float &weight, int column) {
      if (!real || column >= columns) weight = 0;
    });
  });
}

}  // namespace infonce::cuda

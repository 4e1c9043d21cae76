// The two sums that the ladder climbs: kernel arguments, and the results to compare.
#pragma once

#include <cmath>
#include <vector>

#include "cuda/arch/architecture.h"
#include "problem.h"

namespace infonce::cuda::ladder {

// Row sums of exponentials; of one tower, so the tiles on and above the diagonal serve rows and columns.
class LogSumExp {
 public:
  LogSumExp(Stream &stream, const Problem &problem, const Architecture &architecture)
      : stream_(stream),
        architecture_(architecture),
        tower_(problem.tower()),
        shape_(architecture.shape_of_tiles(stream.hardware(), kPlanes, Terms::kExponentials, tower_.padded_dim)),
        plan_(architecture.plan_sweep(stream.hardware(), kPlanes, shape_, tower_.rows, tower_.rows, tower_.padded_dim,
                                      true)),
        rank_(std::vector<float>(size_t(tower_.padded_rows), INFINITY)),
        row_sum_(slots_of_rows()),
        column_sum_(slots_of_columns()),
        row_above_(slots_of_rows()),
        column_above_(slots_of_columns()),
        above_(tower_.padded_rows),
        sum_(tower_.padded_rows) {
    task_.rows = task_.columns = tower_;
    task_.pairs = problem.pairs();
    task_.ranks = true;
    task_.row_rank = task_.column_rank = rank_.get();
    task_.exponent = add_.exponent = kExponent;
    task_.triangular = add_.triangular = true;
    task_.tiles_per_run = add_.tiles_per_run = plan_.tiles_per_run;
    task_.by_row = add_.by_row = {row_sum_.get(), row_above_.get(), nullptr};
    task_.by_column = add_.by_column = {column_sum_.get(), column_above_.get(), nullptr};
    add_.of_rows.sum = sum_.get();
    add_.of_rows.above = above_.get();
    add_.of_columns = add_.of_rows;
    add_.columns = tower_.rows;
    add_.stride = tower_.padded_rows;
    add_.rows_of_tile = rows_of(shape_);
    add_.rows_of_column_sum = rows_of_column_sums(shape_);
    add_.tiles = plan_.tiles;
  }

  void launch() {
    for (int32_t first = 0; first < plan_.tile_rows; first += plan_.strip) {
      task_.first_tile_row = add_.first_tile_row = first;
      task_.order = add_.order = plan_.order(first);
      add_.tile_rows = std::min(plan_.tile_rows - first, plan_.strip);
      const int32_t longest = plan_.tiles - first * plan_.step;
      architecture_.statistics(stream_, kPlanes, shape_, Terms::kExponentials, task_,
                               tiles_of(longest, plan_.tiles_per_run), add_.tile_rows);
      add_statistics(stream_, add_);
    }
  }

  // Sums are added to what is there.
  void clear() { sum_.fill(0); }
  std::vector<double> result() const {
    std::vector<double> sum = sum_.read();
    sum.resize(size_t(tower_.rows));
    return sum;
  }

 private:
  int64_t slots_of_rows() const { return int64_t(plan_.runs) * plan_.strip * rows_of(shape_); }
  int64_t slots_of_columns() const {
    return int64_t(plan_.strip) * (rows_of(shape_) / rows_of_column_sums(shape_)) * tower_.padded_rows;
  }

  Stream &stream_;
  const Architecture &architecture_;
  const Tower tower_;
  const TileShape shape_;
  const SweepPlan plan_;
  DeviceArray<float> rank_, row_sum_, column_sum_;
  DeviceArray<int32_t> row_above_, column_above_, above_;
  DeviceArray<double> sum_;
  StatisticsTask task_{};
  AddStatisticsTask add_{};
};

// Sums of weights times unit rows, in parts of the columns.
class Gradient {
 public:
  Gradient(Stream &stream, const Problem &problem, const Architecture &architecture)
      : Gradient(problem, architecture.plan_splits(stream.hardware(), kPlanes, problem.tower().rows,
                                                   problem.tower().rows, problem.tower().padded_dim)) {}
  Gradient(const Problem &problem, int32_t splits)
      : tower_(problem.tower()), splits_(splits), accumulators_(splits_ * tower_.plane_size()) {
    task_.weights.owner = task_.weights.other = tower_;
    task_.weights.pairs = problem.pairs();
    task_.weights.owner_weight = task_.weights.other_weight = problem.weight();
    task_.weights.exponent = kExponent;
    task_.accumulators = accumulators_.get();
  }

  const GradientTask &task() const { return task_; }
  int32_t splits() const { return splits_; }

  // To what is no number, so that rows that a kernel forgets are noticed.
  void clear() { accumulators_.fill(0xff); }
  std::vector<double> result() const {
    const std::vector<float> parts = accumulators_.read();
    const size_t plane = size_t(tower_.plane_size());
    std::vector<double> sum(size_t(tower_.rows * tower_.padded_dim));
    for (int32_t split = 0; split < splits_; ++split)
      for (size_t k = 0; k < sum.size(); ++k) sum[k] += double(parts[size_t(split) * plane + k]);
    return sum;
  }

 private:
  const Tower tower_;
  const int32_t splits_;
  DeviceArray<float> accumulators_;
  GradientTask task_{};
};

}  // namespace infonce::cuda::ladder

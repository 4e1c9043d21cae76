// The launchers: host functions that choose grids and instances. No kernel is launched from anywhere else. Those of one
// generation's kernels are in sm80.h and sm90.h.
#pragma once

#include <vector>

#include "cuda/kernels/tile_shapes.h"
#include "cuda/kernels/tasks.h"
#include "cuda/stream.h"

namespace infonce::cuda {

inline unsigned blocks_of(int64_t count, int64_t of_block) {
  return static_cast<unsigned>((count + of_block - 1) / of_block);
}

// Multiplications and additions of tensor cores for so many dot products.
inline Operations operations_of(Planes planes, int64_t rows, int64_t columns, int64_t depth) {
  const int products = int(planes) * (int(planes) + 1) / 2;
  return {2.0 * products * double(rows) * double(columns) * double(depth), false};
}

// prepare.cu
void widen(Stream &stream, bool is_float16, const void *from, float *to, int64_t count);  // else bfloat16
// `type`: of the numbers, an infonce_type.
void bring_together(Stream &stream, int32_t type, const void *from, int64_t stride, float *to, int64_t rows,
                    int64_t dim);
void prepare(Stream &stream, Planes planes, const std::vector<PrepareTask> &tasks);
void measure_upstream(Stream &stream, const float *values, int64_t count, Report *report);
void judge_logits(Stream &stream, int anchors, uint32_t others, double scale, double largest, Report *report);
void sum_classes(Stream &stream, const Tower &tower, const Tower &memory, const ClassSums &classes);
void judge_classes(Stream &stream, const ClassSums &classes, int64_t dim, double scale, Report *report);

// pairs.cu
void first_logits(Stream &stream, const FirstsTask &task);
void pair_logits(Stream &stream, Planes planes, const PairsTask &task);

// statistics.cu
inline int64_t end_of_rows(const AddStatisticsTask &task) {
  return int64_t(task.first_tile_row + task.tile_rows) * task.rows_of_tile;
}
void add_statistics(Stream &stream, const AddStatisticsTask &task);

// losses.cu
// `sums`: of the last launch of statistics, to be put together first; of no rows and columns: there are none. `totals`: of
// 0 rows, not yet.
void losses(Stream &stream, int32_t row_loss, const AddStatisticsTask &sums, const LossesTask &task,
            const TotalsTask &totals);
void weigh_positives(Stream &stream, const PositiveWeightsTask &task);
void write_row_losses(Stream &stream, const double *loss, float *row_loss, int64_t rows);
void totals(Stream &stream, const TotalsTask &task);
void fill_with_nan(Stream &stream, const Report *report, const Results &results);

// smoothing.cu
void sum_rows(Stream &stream, const RowSumTask &task);
void mean_logits(Stream &stream, const MeanLogitsTask &task);
void add_logit_sums(Stream &stream, const LogitSumsTask &task);
void add_smoothing(Stream &stream, const SmoothingTask &task);

// finish.cu
void add_splits(Stream &stream, const AddSplitsTask<float> &task);
void add_splits(Stream &stream, const AddSplitsTask<double> &task);
// radial [rows] += factor * the upstream gradient * what the sums [padded_rows][padded_dim] have along the rows.
void add_radial(Stream &stream, const Tower &tower, const double *sums, double factor, const Upstream &upstream,
                double *radial);
// `totals`: of 0 rows, not yet.
void finish(Stream &stream, PairRule rule, const FinishTask<float> &task, const TotalsTask &totals);
void finish(Stream &stream, PairRule rule, const FinishTask<double> &task, const TotalsTask &totals);

// Of a gradient in registers.
struct RegisterBlocks {
  int rows;      // of a block
  int resident;  // blocks that a multiprocessor holds
};

}  // namespace infonce::cuda

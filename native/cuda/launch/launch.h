// The launchers: host functions that choose grids and instances. No kernel is launched from anywhere else. `sm90`: by
// the kernels for compute capability 9.0, whose tiles' shapes are those of warpgroups.
#pragma once

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
void prepare(Stream &stream, Planes planes, const PrepareTask &task);
void measure_upstream(Stream &stream, const float *values, int64_t count, Report *report);
void judge_logits(Stream &stream, bool one_tower, double scale, double largest, Report *report);
void sum_classes(Stream &stream, const Tower &tower, const Tower &memory, const ClassSums &classes);
void judge_classes(Stream &stream, const ClassSums &classes, int64_t dim, double scale, Report *report);

// pairs.cu
void pair_logits(Stream &stream, Planes planes, const PairsTask &task);

// statistics.cu
TileShape shape_of_tiles(const Stream &stream, Planes planes, bool online, int64_t padded_dim, bool sm90);
void statistics(Stream &stream, Planes planes, TileShape shape, bool online, const StatisticsTask &task, int runs,
                int tile_rows);
void add_statistics(Stream &stream, const AddStatisticsTask &task);

// losses.cu
void losses(Stream &stream, const LossesTask &task);
void write_row_losses(Stream &stream, const double *loss, float *row_loss, int64_t rows);
void totals(Stream &stream, const TotalsTask &task);
void spoil(Stream &stream, const Report *report, const Results &results);

// panel.cu
void write_panel(Stream &stream, Planes planes, TileShape shape, bool online, const PanelTask &task, int runs,
                 int tile_rows);
void accumulate_panel(Stream &stream, Planes planes, TileShape shape, const AccumulateTask &task, int tile_rows,
                      int splits);
int accumulate_blocks(Stream &stream, Planes planes, TileShape shape);  // that a multiprocessor holds

// gradient.cu
struct RegisterBlocks {
  int rows;      // of a block
  int resident;  // blocks that a multiprocessor holds
};
bool gradient_in_registers(const Stream &stream, Planes planes, int64_t padded_dim, bool sm90);
RegisterBlocks gradient_blocks(Stream &stream, Planes planes, int64_t padded_dim, bool sm90);
void gradient(Stream &stream, Planes planes, const GradientTask &task, int splits, bool sm90);

// finish.cu
void finish(Stream &stream, const FinishTask<float> &task);
void finish(Stream &stream, const FinishTask<double> &task);

}  // namespace infonce::cuda

// The launchers of the kernels for compute capability 8.0 and later.
#pragma once

#include "cuda/launch/launch.h"

namespace infonce::cuda::sm80 {

// statistics.cu
void statistics(Stream &stream, Planes planes, TileShape shape, Terms terms, const StatisticsTask &task, int runs,
                int tile_rows);

// panel.cu
void write_panel(Stream &stream, Planes planes, TileShape shape, Terms terms, const PanelTask &task, int runs,
                 int tile_rows);
void accumulate_panel(Stream &stream, Planes planes, TileShape shape, const AccumulateTask &task, int tile_rows,
                      int splits);
int accumulate_blocks(const Hardware &hardware, Planes planes, TileShape shape);  // that a multiprocessor holds

// gradient.cu
bool gradient_in_registers(const Hardware &hardware, Planes planes, int64_t padded_dim);
RegisterBlocks gradient_blocks(const Hardware &hardware, Planes planes, int64_t padded_dim);
void gradient(Stream &stream, Planes planes, const GradientTask &task, int splits);

}  // namespace infonce::cuda::sm80

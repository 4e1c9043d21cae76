// The launchers of the kernels for compute capability 9.0.
#pragma once

#include <vector>

#include "cuda/launch/launch.h"

namespace infonce::cuda::sm90 {

// sm90_statistics.cu
void statistics(Stream &stream, Planes planes, TileShape shape, Terms terms, const StatisticsTask &task);

// sm90_panel.cu
void write_panel(Stream &stream, Planes planes, TileShape shape, Terms terms, const PanelTask &task, int tile_rows);

// sm90_product.cu
void accumulate_panel(Stream &stream, Planes planes, const PanelProductTask &task);
std::vector<int> dims_of_products(Planes planes);  // that tiles may have

// sm90_gradient.cu
bool gradient_in_registers(Planes planes, int64_t padded_dim);
RegisterBlocks gradient_blocks(Planes planes, int64_t padded_dim);
void gradient(Stream &stream, Planes planes, const GradientTask &task, int splits);
// Where the gradient is computed in registers.
void flash(Stream &stream, Planes planes, const FlashTask &task, int splits);

}  // namespace infonce::cuda::sm90

// What the tensor memory accelerator of compute capability 9.0 has to know of an array: how boxes of it lie in memory.
#pragma once

#include <cuda.h>

#include <cstdint>
#include <string>

#include "cuda/kernels/rows.h"

namespace infonce::cuda {

// Why none can be made for `device` as far as is known, or an empty text. Needs no context: one is tried when a context
// is made.
std::string why_no_tensor_maps(int device);

// Tries one, once for each device, on the current one. Why none can be made, or an empty text; throws Error where that
// says nothing of the device.
std::string try_tensor_maps(int device);

// A matrix of bfloat16 with rows of `columns` elements, in boxes of `box_rows` rows by 64 elements, as the 128-byte
// swizzle leaves them. Coordinates: element, row.
CUtensorMap map_of_matrix(const __nv_bfloat16 *matrix, int64_t rows, int64_t columns, int box_rows);

// All planes of a tower, one below the other: row r of plane p is row p * padded_rows + r.
CUtensorMap map_of_rows(const Tower &tower, Planes planes, int box_rows);

// The same with each plane by itself: what is beyond its rows is zeros. Coordinates: element, row, plane.
CUtensorMap map_of_planes(const Tower &tower, Planes planes, int box_rows);

// As map_of_rows, in boxes whose rows stand as ColumnsByLane says, of 32 and 32. Coordinates: element, 0, 0, 0, row
// / 32.
CUtensorMap map_of_columns(const Tower &tower, Planes planes, int box_rows);

// A matrix of float32, in boxes of `box_rows` rows by 32 elements, in the 128-byte swizzle. Coordinates: element, row.
CUtensorMap map_of_sums(const float *sums, int64_t rows, int64_t columns, int box_rows);

// Numbers in boxes of `box`. Coordinate: index.
CUtensorMap map_of_vector(const float *values, int64_t count, int box);

}  // namespace infonce::cuda

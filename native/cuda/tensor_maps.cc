#include "cuda/tensor_maps.h"

#include <cuda_runtime.h>

#include <initializer_list>
#include <stdexcept>

#ifdef INFONCE_FAULT_INJECTION
#include "cuda/fault_injection.h"
#endif

namespace infonce::cuda {
namespace {

constexpr int kBoxColumns = 64;

// The driver's function, through the runtime: nothing links to the driver's library, which only GPUs bring.
struct Driver {
  decltype(&cuTensorMapEncodeTiled) encode = nullptr;
  std::string problem;

  Driver() {
#ifdef INFONCE_FAULT_INJECTION
    if (InjectedFaults::driver_is_old()) {
      problem = "the driver has no cuTensorMapEncodeTiled (not found)";
      return;
    }
#endif
    void *function = nullptr;
    cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
#if CUDART_VERSION >= 12050
    constexpr unsigned kSince = 12000;
    const cudaError_t code =
        cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, kSince, cudaEnableDefault, &found);
#else
    const cudaError_t code = cudaGetDriverEntryPoint("cuTensorMapEncodeTiled", &function, cudaEnableDefault, &found);
#endif
    cudaGetLastError();
    if (code == cudaSuccess && found == cudaDriverEntryPointSuccess && function)
      encode = reinterpret_cast<decltype(encode)>(function);
    else
      problem = std::string("the driver has no cuTensorMapEncodeTiled (") +
                (code == cudaSuccess ? "not found" : cudaGetErrorString(code)) + ")";
  }
};

const Driver &driver() {
  static const Driver found;
  return found;
}

struct Encoded {
  CUtensorMap map;
  CUresult code;
};

// strides: in bytes, of all dimensions but the first, which is dense.
Encoded try_to_encode(CUtensorMapDataType type, const void *memory, CUtensorMapSwizzle swizzle,
                      std::initializer_list<cuuint64_t> sizes, std::initializer_list<cuuint64_t> strides,
                      std::initializer_list<cuuint32_t> box) {
  constexpr cuuint32_t kEveryElement[5] = {1, 1, 1, 1, 1};
  constexpr cuuint64_t kNone[1] = {0};
  Encoded encoded;
  encoded.code = driver().encode(&encoded.map, type, cuuint32_t(sizes.size()), const_cast<void *>(memory),
                                 sizes.begin(), strides.size() ? strides.begin() : kNone, box.begin(), kEveryElement,
                                 CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                                 CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  return encoded;
}

CUtensorMap checked(const Encoded &encoded) {
  if (encoded.code != CUDA_SUCCESS)
    throw std::runtime_error("the driver refuses a tensor map: error " + std::to_string(encoded.code));
  return encoded.map;
}

// A row of a group of 32 is 8 * lane + 2 * fragment + side; its place in the box 8 * fragment + 2 * lane + side. So
// strides do not grow from dimension to dimension, which the driver's documentation has them do and its function does
// not ask for.
Encoded encode_columns(const void *planes, int64_t rows, int64_t columns, int box_rows) {
  constexpr int kGroup = 32;
  const cuuint64_t row_bytes = cuuint64_t(columns) * sizeof(__nv_bfloat16);
  return try_to_encode(CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, planes, CU_TENSOR_MAP_SWIZZLE_128B,
                       {cuuint64_t(columns), 2, 4, 4, cuuint64_t(rows / kGroup)},
                       {row_bytes, 8 * row_bytes, 2 * row_bytes, kGroup * row_bytes},
                       {kBoxColumns, 2, 4, 4, cuuint32_t(box_rows / kGroup)});
}

// Tries the most demanding map; nothing is read through it.
std::string find_problem() {
  if (!driver().problem.empty()) return driver().problem;
  alignas(128) static const char memory[128] = {};
  const CUresult code = encode_columns(memory, kRowMultiple, kDimMultiple, 128).code;
  return code == CUDA_SUCCESS ? "" : "the driver refuses a tensor map: error " + std::to_string(code);
}

}  // namespace

const std::string &why_no_tensor_maps() {
  static const std::string problem = find_problem();
  return problem;
}

CUtensorMap map_of_matrix(const __nv_bfloat16 *matrix, int64_t rows, int64_t columns, int box_rows) {
  const cuuint64_t row_bytes = cuuint64_t(columns) * sizeof *matrix;
  return checked(try_to_encode(CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, matrix, CU_TENSOR_MAP_SWIZZLE_128B,
                               {cuuint64_t(columns), cuuint64_t(rows)}, {row_bytes},
                               {kBoxColumns, cuuint32_t(box_rows)}));
}

CUtensorMap map_of_rows(const Tower &tower, Planes planes, int box_rows) {
  return map_of_matrix(tower.planes, int64_t(planes) * tower.padded_rows, tower.padded_dim, box_rows);
}

CUtensorMap map_of_planes(const Tower &tower, Planes planes, int box_rows) {
  const cuuint64_t row_bytes = cuuint64_t(tower.padded_dim) * sizeof *tower.planes;
  return checked(try_to_encode(CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, tower.planes, CU_TENSOR_MAP_SWIZZLE_128B,
                               {cuuint64_t(tower.padded_dim), cuuint64_t(tower.padded_rows), cuuint64_t(planes)},
                               {row_bytes, cuuint64_t(tower.padded_rows) * row_bytes},
                               {kBoxColumns, cuuint32_t(box_rows), 1}));
}

CUtensorMap map_of_columns(const Tower &tower, Planes planes, int box_rows) {
  return checked(encode_columns(tower.planes, int64_t(planes) * tower.padded_rows, tower.padded_dim, box_rows));
}

CUtensorMap map_of_vector(const float *values, int64_t count, int box) {
  return checked(try_to_encode(CU_TENSOR_MAP_DATA_TYPE_FLOAT32, values, CU_TENSOR_MAP_SWIZZLE_NONE, {cuuint64_t(count)},
                               {}, {cuuint32_t(box)}));
}

}  // namespace infonce::cuda

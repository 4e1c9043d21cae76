#include "cuda/tensor_maps.h"

#include <cuda_runtime.h>

#include <atomic>
#include <initializer_list>
#include <map>
#include <mutex>
#include <optional>
#include <stdexcept>

#include "cuda/driver.h"
#include "cuda/error.h"

#ifdef INFONCE_FAULT_INJECTION
#include "cuda/fault_injection.h"
#endif

namespace infonce::cuda {
namespace {

constexpr int kBoxColumns = 64;

using Encode = decltype(&cuTensorMapEncodeTiled);

Encode find_encode(std::string *problem = nullptr) {
#ifdef INFONCE_FAULT_INJECTION
  if (InjectedFaults::driver_is_old()) {
    if (problem) *problem = "the driver has no cuTensorMapEncodeTiled (not found)";
    return nullptr;
  }
#endif
  return reinterpret_cast<Encode>(driver_function("cuTensorMapEncodeTiled", problem));
}

// Where it was found once, it stays.
Encode encode() {
  static std::atomic<Encode> found{nullptr};
  Encode function = found.load(std::memory_order_relaxed);
  if (!function) {
    std::string problem;
    function = find_encode(&problem);
    if (!function) throw std::runtime_error(problem);
    found.store(function, std::memory_order_relaxed);
  }
  return function;
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
  encoded.code =
      encode()(&encoded.map, type, cuuint32_t(sizes.size()), const_cast<void *>(memory), sizes.begin(),
               strides.size() ? strides.begin() : kNone, box.begin(), kEveryElement, CU_TENSOR_MAP_INTERLEAVE_NONE,
               swizzle, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  return encoded;
}

std::string refusal(CUresult code) { return "the driver refuses a tensor map: error " + std::to_string(code); }

CUtensorMap checked(const Encoded &encoded) {
  if (encoded.code != CUDA_SUCCESS) throw std::runtime_error(refusal(encoded.code));
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

// By device: the reason of a refusal, empty after a success.
class Trials {
 public:
  std::optional<std::string> outcome(int device) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto known = outcomes_.find(device);
    return known == outcomes_.end() ? std::nullopt : std::optional(known->second);
  }
  void keep(int device, const std::string &outcome) {
    const std::lock_guard<std::mutex> lock(mutex_);
    outcomes_.emplace(device, outcome);
  }

 private:
  std::mutex mutex_;
  std::map<int, std::string> outcomes_;
};

Trials &trials() {
  static Trials all;
  return all;
}

// What says nothing of the device: no driver yet or no longer, no context.
bool is_of_the_moment(CUresult code) {
  return code == CUDA_ERROR_NOT_INITIALIZED || code == CUDA_ERROR_DEINITIALIZED || code == CUDA_ERROR_INVALID_CONTEXT;
}

}  // namespace

std::string why_no_tensor_maps(int device) {
  std::string problem;
  if (!find_encode(&problem)) return problem;
  return trials().outcome(device).value_or("");
}

// Tries the most demanding map; nothing is read through it.
std::string try_tensor_maps(int device) {
  if (const std::optional<std::string> outcome = trials().outcome(device)) return *outcome;
  const std::string problem = why_no_tensor_maps(device);
  if (!problem.empty()) return problem;
  alignas(128) static const char memory[128] = {};
  const CUresult code = encode_columns(memory, kRowMultiple, kDimMultiple, 128).code;
  // The numbers of the driver are those of the runtime.
  const Error error(cudaError_t(code), "making a tensor map");
  if (code != CUDA_SUCCESS && (is_of_the_moment(code) || error.is_fault())) throw error;
  const std::string outcome = code == CUDA_SUCCESS ? "" : refusal(code);
  trials().keep(device, outcome);
  return outcome;
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
                               {cuuint64_t(tower.padded_dim), cuuint64_t(tower.rows), cuuint64_t(planes)},
                               {row_bytes, cuuint64_t(tower.padded_rows) * row_bytes},
                               {kBoxColumns, cuuint32_t(box_rows), 1}));
}

CUtensorMap map_of_columns(const Tower &tower, Planes planes, int box_rows) {
  return checked(encode_columns(tower.planes, int64_t(planes) * tower.padded_rows, tower.padded_dim, box_rows));
}

CUtensorMap map_of_sums(const float *sums, int64_t rows, int64_t columns, int box_rows) {
  const cuuint64_t row_bytes = cuuint64_t(columns) * sizeof *sums;
  constexpr cuuint32_t kColumnsOfBox = 128 / sizeof *sums;
  return checked(try_to_encode(CU_TENSOR_MAP_DATA_TYPE_FLOAT32, sums, CU_TENSOR_MAP_SWIZZLE_128B,
                               {cuuint64_t(columns), cuuint64_t(rows)}, {row_bytes},
                               {kColumnsOfBox, cuuint32_t(box_rows)}));
}

CUtensorMap map_of_vector(const float *values, int64_t count, int box) {
  return checked(try_to_encode(CU_TENSOR_MAP_DATA_TYPE_FLOAT32, values, CU_TENSOR_MAP_SWIZZLE_NONE, {cuuint64_t(count)},
                               {}, {cuuint32_t(box)}));
}

}  // namespace infonce::cuda

// An input matrix of any type, read as float32.
#pragma once

#include <cstddef>
#include <cstring>

#include "common/form.h"
#include "cpu/kernels/kernels.h"
#include "infonce/infonce.h"

namespace infonce::cpu {

class Input {
 public:
  Input() = default;
  Input(const infonce_matrix &matrix, int64_t dim, const Kernels &kernels)
      : data_(matrix.data), dim_(dim), stride_(row_stride_of(matrix, dim)) {
    if (matrix.type == INFONCE_FLOAT16) widen_ = kernels.widen_float16;
    if (matrix.type == INFONCE_BFLOAT16) widen_ = kernels.widen_bfloat16;
  }

  // Rows first ... first + count: where they lie or, of 16 bits, widened into `scratch`. Each begins `step()` numbers after
  // the one before.
  const float *rows(int64_t first, int64_t count, float *scratch) const {
    if (!widen_) return static_cast<const float *>(data_) + first * stride_;
    const uint16_t *from = static_cast<const uint16_t *>(data_) + first * stride_;
    if (stride_ == dim_) widen_(from, scratch, count * dim_);
    else
      for (int64_t r = 0; r < count; ++r) widen_(from + r * stride_, scratch + r * dim_, dim_);
    return scratch;
  }
  int64_t step() const { return widen_ ? dim_ : stride_; }

  int64_t row_bytes() const { return dim_ * element_size(); }
  // Writes rows first ... first + count to where they stand in a copy of all, in which no row is apart from the next.
  void copy_rows(int64_t first, int64_t count, std::byte *copy) const {
    const auto *from = static_cast<const std::byte *>(data_);
    const int64_t stride_bytes = stride_ * element_size();
    if (stride_ == dim_) {
      std::memcpy(copy + first * row_bytes(), from + first * stride_bytes, size_t(count * row_bytes()));
      return;
    }
    for (int64_t r = first; r < first + count; ++r)
      std::memcpy(copy + r * row_bytes(), from + r * stride_bytes, size_t(row_bytes()));
  }
  // Reads such a copy from now on.
  void move_to(const std::byte *copy) { data_ = copy, stride_ = dim_; }

 private:
  int64_t element_size() const { return widen_ ? sizeof(uint16_t) : sizeof(float); }

  const void *data_ = nullptr;
  int64_t dim_ = 0, stride_ = 0;
  void (*widen_)(const uint16_t *from, float *to, int64_t count) = nullptr;
};

}  // namespace infonce::cpu

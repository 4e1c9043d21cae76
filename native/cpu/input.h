// An input matrix of any type, read as float32.
#pragma once

#include "cpu/kernels/kernels.h"
#include "infonce/infonce.h"

namespace infonce::cpu {

class Input {
 public:
  Input() = default;
  Input(const infonce_matrix &matrix, int64_t dim, const Kernels &kernels) : data_(matrix.data), dim_(dim) {
    if (matrix.type == INFONCE_FLOAT16) widen_ = kernels.widen_float16;
    if (matrix.type == INFONCE_BFLOAT16) widen_ = kernels.widen_bfloat16;
  }

  // Rows first ... first + count: where they lie or, of 16 bits, widened into `room`.
  const float *rows(int64_t first, int64_t count, float *room) const {
    if (!widen_) return static_cast<const float *>(data_) + first * dim_;
    widen_(static_cast<const uint16_t *>(data_) + first * dim_, room, count * dim_);
    return room;
  }
  // The same numbers elsewhere.
  void move_to(const void *data) { data_ = data; }

 private:
  const void *data_ = nullptr;
  int64_t dim_ = 0;
  void (*widen_)(const uint16_t *from, float *to, int64_t count) = nullptr;
};

}  // namespace infonce::cpu

// An input matrix of any type, read as float32.
#pragma once

#include "cpu/kernels/kernels.h"
#include "infonce/infonce.h"

namespace infonce::cpu {

class Input {
 public:
  // `matrix`: its index; -1: there is none.
  Input(const infonce_problem &problem, int matrix, const Kernels &kernels) : dim_(problem.dim) {
    if (matrix < 0) return;
    const infonce_matrix &input = problem.matrices[matrix];
    data_ = input.data;
    if (input.type == INFONCE_FLOAT16) widen_ = kernels.widen_float16;
    if (input.type == INFONCE_BFLOAT16) widen_ = kernels.widen_bfloat16;
  }

  // Rows first ... first + count: where they lie or, of 16 bits, widened into `room`.
  const float *rows(int64_t first, int64_t count, float *room) const {
    if (!widen_) return static_cast<const float *>(data_) + first * dim_;
    widen_(static_cast<const uint16_t *>(data_) + first * dim_, room, count * dim_);
    return room;
  }
  bool needs_room() const { return widen_ != nullptr; }
  // The same numbers elsewhere.
  void move_to(const void *data) { data_ = data; }

 private:
  const void *data_ = nullptr;
  int64_t dim_;
  void (*widen_)(const uint16_t *from, float *to, int64_t count) = nullptr;
};

}  // namespace infonce::cpu

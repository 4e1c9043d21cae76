// The matrices of a problem as unit rows, packed for the kernels. Templated on their scalar: float for the panel scheme,
// double for the float64 one.
#pragma once

#include <vector>

#include "common/call.h"
#include "cpu/input.h"
#include "cpu/kernels/kernels.h"
#include "cpu/layout.h"
#include "cpu/scheme.h"
#include "cpu/thread_pool.h"
#include "cpu/workspace.h"

namespace infonce::cpu {

constexpr int64_t kPassRows = 64;  // rows of a task in passes over rows

constexpr int kPart = INFONCE_MOST_MATRICES;  // where the part of an opened call stands beside the matrices

template <class Scalar> const ScalarKernels<Scalar> &scalar_kernels(const Kernels &kernels) {
  if constexpr (sizeof(Scalar) == sizeof(float)) return kernels.float32;
  else return kernels.float64;
}

template <class Scalar> class Operands {
 public:
  Operands(const Request &request, const Layout &layout, const Kernels &kernels, ThreadPool &pool);

  // Carves the operands. Kernels that read bfloat16 pairs have no use for depth panels.
  void take_kept(Workspace::Cursor &cursor, bool bfloat16);
  // The scratch memory of `prepare`, and the part, if there is one.
  void take_scratch(Workspace::Cursor &cursor, bool bfloat16, const infonce_part *part);

  // These return the first row of the input that holds NaN or infinity.
  BadRow prepare();
  BadRow prepare_part(const infonce_part &part, int matrix);  // `matrix`: to be named in its place

  // The prepared rows as `thread` should read them.
  const Operand<Scalar> &at(int matrix, int thread) {
    if (matrix == kPart) return part_;
    const int copy = copies() > 1 ? thread : 0;
    if (!is_ready_[copy]) prepare_copy(copy, thread);
    return operand(copy, matrix);
  }
  double largest_norm(int matrix) const { return norm_[matrix]; }
  int64_t padded_dim() const { return round_up(problem_.dim, kernels_.panel); }

 private:
  // Small inputs are prepared by every thread for itself: that costs less than fetching half of them from another
  // processor's cache. Larger ones are shared.
  int copies() const { return int(is_ready_.size()); }
  Operand<Scalar> &operand(int copy, int matrix) { return operands_[copy * problem_.matrix_count + matrix]; }
  bool small() const { return layout_.end() * padded_dim() * int64_t(sizeof(Scalar)) <= kSmallBytes; }
  void take(Workspace::Cursor &cursor, int64_t padded_rows, bool bfloat16, Operand<Scalar> *operand);
  void prepare_copy(int copy, int thread);
  BadRow prepare_shared(const infonce_matrix &matrix, int name, Operand<Scalar> *operand, double *norm);
  PreparedRows prepare_rows(const Input &input, int64_t rows, int64_t first, Operand<Scalar> *operand, int thread);
  static void note(int name, const PreparedRows &prepared, double *norm, BadRow *bad);

  static constexpr int64_t kSmallBytes = int64_t(1) << 20;  // in each of two layouts: both stay in a processor's cache

  const infonce_problem &problem_;
  const Layout &layout_;
  const Kernels &all_kernels_;
  const ScalarKernels<Scalar> &kernels_;
  ThreadPool &pool_;
  std::vector<float *> scratch_;           // by thread: a task's 16-bit rows as float32
  std::vector<Operand<Scalar>> operands_;  // by copy and matrix
  std::vector<char> is_ready_;             // by copy
  Operand<Scalar> part_;
  BadRow bad_;
  double norm_[kPart + 1] = {};
  std::vector<PreparedRows> prepared_;
};

extern template class Operands<float>;
extern template class Operands<double>;

}  // namespace infonce::cpu

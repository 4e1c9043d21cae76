// Rows' thresholds: which cosine leaves a candidate out, of the rows as used or of a guide model's. Near a threshold the
// float32 scheme decides in float64, from the rows as they came.
#pragma once

#include <cstddef>
#include <vector>

#include "common/call.h"
#include "cpu/input.h"
#include "cpu/layout.h"
#include "cpu/operands.h"
#include "cpu/pairs.h"
#include "cpu/scheme.h"
#include "cpu/thread_pool.h"
#include "cpu/workspace.h"

namespace infonce::cpu {

template <class Scalar> class Thresholds {
 public:
  // Of a problem that has one. `operands`: of its own matrices.
  Thresholds(const Request &request, const Layout &layout, const Kernels &kernels, const Pairs &pairs,
             Operands<Scalar> &operands, ThreadPool &pool);

  bool by_guide() const { return block_.by_guide != 0; }
  void take_kept(Workspace::Cursor &cursor, bool bfloat16);
  void take_scratch(Workspace::Cursor &cursor, bool bfloat16, const infonce_part *part);

  // After the operands. Returns the first row of a guide that holds NaN or infinity.
  BadRow prepare();
  // After the part's operand; the same of its guide. `matrix`: to be named in its place.
  BadRow prepare_part(const infonce_part &part, int matrix);

  // Of columns of this matrix: by anchor, padded; and as of Threshold, null: nothing is near.
  const Scalar *most(int matrix) const { return bounds_of(matrix).most; }
  const Scalar *near(int matrix) const { return bounds_of(matrix).near; }
  // A matrix's guide as `thread` should read it.
  const Operand<Scalar> &guide(int matrix, int thread) { return guides_.at(matrix, thread); }

  // Of a Threshold whose columns are this matrix.
  void *ask(int matrix, int thread) { return &asked_[thread * kColumns + matrix]; }
  static bool is_above(void *asked, int64_t row, int64_t column);

 private:
  static constexpr int kColumns = kPart + 1;  // matrices and the part
  struct Asked {
    Thresholds *thresholds;
    int matrix, thread;
  };
  // The rows as they came, of one matrix.
  struct Exact {
    Input input;
    int64_t rows = 0;
    std::byte *copy = nullptr;  // for later gradients, when the input is gone
  };
  Operands<Scalar> &compared() { return by_guide() ? guides_ : operands_; }
  // What leaves no doubt, given how long columns may be.
  struct Bounds {
    Scalar *most = nullptr, *near = nullptr;
  };
  const Bounds &bounds_of(int matrix) const { return is_exact_ && matrix == kPart ? of_part_ : bounds_; }
  void set_bounds(int64_t i, double longest, int thread, const Bounds &bounds);
  double exact_dot(int64_t i, int matrix, int64_t j, int thread);
  void keep_rows();
  void find(int64_t first, int64_t count, int thread);

  const Request &request_;
  const Request of_guides_;  // the problem with guides in the place of matrices
  const Layout &layout_;
  const Pairs &pairs_;
  const Kernels &all_kernels_;
  const ScalarKernels<Scalar> &kernels_;
  ThreadPool &pool_;
  const infonce_block &block_;  // of which all have the same
  const bool is_exact_;         // pairs near a threshold are decided in float64
  Operands<Scalar> &operands_;
  Operands<Scalar> guides_;
  Bounds bounds_, of_part_;
  double *exact_most_ = nullptr;  // infinity: of no anchor
  Exact exact_[kColumns];
  infonce_part guide_of_part_{};
  std::vector<float *> scratch_;  // by thread: two rows of 16 bits as float32
  std::vector<Asked> asked_;
};

extern template class Thresholds<float>;
extern template class Thresholds<double>;

}  // namespace infonce::cpu

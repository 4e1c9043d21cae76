// The passes over rows that every scheme shares: prepare the operands, rank the positives, put losses together, finish
// gradients. Templated on the scalar of the operands: float for the panel scheme, double for the wide one.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "common/row_loss.h"
#include "cpu/input.h"
#include "cpu/kernels/kernels.h"
#include "cpu/pairs.h"
#include "cpu/scheme.h"
#include "cpu/thread_pool.h"
#include "cpu/towers.h"
#include "cpu/workspace.h"
#include "infonce/infonce.h"

namespace infonce::cpu {

constexpr int64_t kPassRows = 64;  // rows of a task in the passes below

// d loss / d (row loss), split into its largest size and what is left of it, which stays near 1 in float32.
struct Upstream {
  const float *rows = nullptr;  // one each, or null: all the same
  double largest = 1;
  double sign_of_all = 1;

  double relative(int64_t i) const { return rows ? (largest_row > 0 ? rows[i] / largest_row : 0) : sign_of_all; }
  double largest_row = 1;
};
Upstream upstream_of(const infonce_problem &problem);

// One direction of the softmax: rows that have a denominator and a loss.
template <class Scalar> struct Direction {
  Scalar *rank = nullptr;    // dot product with the first positive; +inf without one; with `above`, if ranks are wanted
  double *sum = nullptr;     // matrix part of the denominator: sum * e^offset
  double *offset = nullptr;  // wide scheme; the panel scheme has one for all
  double *above = nullptr;   // candidates above the positive
  Scalar *weight = nullptr;  // of the stored exponentials (panel) or of the probabilities (wide), times upstream
  Scalar *target = nullptr;  // 1 / positives for rows of a large class, times upstream; else 0
  double *log_sum_exp = nullptr;
  double *rest_share = nullptr;
  double *loss = nullptr;

  void take(Workspace::Cursor &cursor, int64_t padded_rows, bool ranks) {
    rank = cursor.take<Scalar>(ranks ? padded_rows : 0);
    sum = cursor.take<double>(padded_rows);
    offset = cursor.take<double>(padded_rows);
    above = cursor.take<double>(ranks ? padded_rows : 0);
    weight = cursor.take<Scalar>(padded_rows);
    target = cursor.take<Scalar>(padded_rows);
    log_sum_exp = cursor.take<double>(padded_rows);
    rest_share = cursor.take<double>(padded_rows);
    loss = cursor.take<double>(padded_rows);
  }
};

template <class Scalar> const ScalarKernels<Scalar> &scalar_kernels(const Kernels &kernels) {
  if constexpr (sizeof(Scalar) == sizeof(float)) return kernels.single;
  else return kernels.wide;
}

template <class Scalar> class Passes : public Towers {
 public:
  Passes(const Request &request, const Kernels &kernels, const Pairs &pairs, ThreadPool &pool);

  // Carves the operands and the statistics. Kernels that read bfloat16 pairs have no use for depth panels.
  void take_kept(Workspace::Cursor &cursor, bool bfloat16);
  // What `prepare` needs beside them.
  void take_scratch(Workspace::Cursor &cursor);

  BadRow prepare();
  double largest_logit() const;

  void rank();
  void sum_large_classes();
  // Whether the rows of a large class lie so close together that their gradient is lost in float32: as the class
  // contracts, p - 1 / positives cancels for every one of its pairs.
  bool has_tight_class() const;
  // Reads sum, offset and above of both directions; writes loss, weight, log_sum_exp, rest_share. All rows, or some.
  void losses();
  void losses(int64_t first, int64_t count, int thread);
  void write_losses(infonce_result *result) const;
  // Weights anew for the problem's present upstream gradient.
  void resume();

  // For anchors whose accumulators hold the share of the memory's rows in the matrix: adds that of the pairs with them.
  // Returns the sum of <u, d loss / d u> so far.
  double finish_memory(int64_t first, int64_t count, Scalar *accumulators, int64_t accumulator_rows, int thread);
  // Adds the other pairs' share to the accumulated gradient of rows first ... first + count and writes them to
  // `gradient`. Returns the sum of <u, d loss / d u>.
  double finish(Tower tower, int64_t first, int64_t count, Scalar *accumulators, int64_t accumulator_rows,
                float *gradient, int thread);
  // d loss / d scale from the anchors' sum, in which a logit of one tower stands on both its sides; those with the
  // memory, which has no gradient, only once, and again in its share.
  double grad_scale(double radial_sum, double memory_share) const {
    return (radial_sum + memory_share) / problem_.scale / (one_tower() ? 2 : 1);
  }

  int64_t padded_dim() const { return round_up(problem_.dim, kernels_.panel); }

  // The prepared rows as `thread` should read them.
  const Operand<Scalar> &operand(Tower tower, int thread);

  Direction<Scalar> rows, columns;  // columns: the second direction of CLIP, else empty
  bool has_columns() const { return both_directions(); }

 private:
  // Small inputs are prepared by every thread for itself: that costs less than fetching half of them from another
  // processor's cache. Larger ones are shared.
  struct Copy {
    Operand<Scalar> towers[kTowers];
    bool ready;
  };
  bool small() const;
  void take_operand(Workspace::Cursor &cursor, Operand<Scalar> &operand, Tower tower, bool bfloat16);
  void prepare_copy(Copy &copy, int thread);
  void prepare_shared(Copy &copy);
  PreparedRows prepare_block(Operand<Scalar> &operand, Tower tower, int64_t block, int thread);
  void note(Tower tower, const PreparedRows &prepared);

  Tower positives() const { return one_tower() ? kAnchors : kKeys; }
  double logit(int64_t i, int64_t j, int thread);
  double dot_with_class(int64_t i, int64_t large_class, int thread);
  void add_pairs_to_loss(int64_t i, bool transposed, RowLoss *row, int thread);
  void losses_of(Direction<Scalar> &direction, int64_t first, int64_t count, int thread);
  double pair_weight(int64_t i, bool is_positive, double logit) const;
  enum class Partners { kInMemory, kOthers };
  void add_pairs(int64_t i, Partners partners, Scalar *accumulators, int64_t accumulator_rows, int thread);
  void add_own_pair(Tower tower, int64_t i, Scalar *accumulators, int64_t accumulator_rows, int thread);
  void add_large_class(int64_t i, Partners partners, Scalar *accumulators, int64_t accumulator_rows, int thread);

  const infonce_problem &problem_;
  const ScalarKernels<Scalar> &kernels_;
  const Pairs &pairs_;
  ThreadPool &pool_;
  Input inputs_[kTowers];
  Upstream upstream_;
  std::vector<float *> room_;  // by thread: a block of 16-bit rows as float32
  std::vector<Copy> copies_;
  BadRow bad_;
  double norm_[kTowers] = {0, 0, 0};
  // Sums over a large class: of the unit rows, of those in the memory, of the anchors times their upstream gradient, of
  // the squared lengths.
  struct ClassSums {
    double *plain, *memory, *weighted;  // [dim]
    double *squares;
    static int64_t size(int64_t dim) { return 3 * dim + 1; }
  };
  ClassSums class_sums(int64_t large_class) const {
    const int64_t dim = problem_.dim;
    double *first = class_sums_ + large_class * ClassSums::size(dim);
    return {first, first + dim, first + 2 * dim, first + 3 * dim};
  }
  double *class_sums_ = nullptr;
  std::vector<PreparedRows> prepared_;
};

extern template class Passes<float>;
extern template class Passes<double>;

}  // namespace infonce::cpu

// The float64 scheme for whatever a constant shift cannot hold: very low temperatures, rows that are used as they are
// with large norms, rows far from every candidate. Each task owns rows and walks all of the other side twice, with a
// running maximum first and with the finished log-sum-exps after.
#pragma once

#include "cpu/passes.h"

namespace infonce::cpu {

class WideScheme {
 public:
  WideScheme(const infonce_problem &problem, const Kernels &kernels, const Pairs &pairs, ThreadPool &pool,
             Workspace &workspace);

  BadRow prepare() { return passes_.prepare(); }
  void run(infonce_result *result);

 private:
  void take(Workspace::Cursor &cursor);
  // A tower, the softmax over whose rows `direction` is, if there is one.
  struct Side {
    Tower tower;
    const Direction<double> *direction;
    const int32_t *groups;
  };
  void log_sum_exp(const Side &owner, const Side &other);
  double gradient(const Side &owner, const Side &other, float *output);
  template <class Rows> void walk(Rows rows, void (*kernel)(const Rows &)) const;
  WideRows wide_rows(const Side &owner, const Side &other, int64_t first, int thread);

  const infonce_problem &problem_;
  const Kernels &kernels_;
  const Pairs &pairs_;
  ThreadPool &pool_;
  Passes<double> passes_;
  struct ThreadScratch {
    double *logits, *accumulators;
  };
  std::vector<ThreadScratch> scratch_;
};

}  // namespace infonce::cpu

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
  void log_sum_exp(const Direction<double> &direction, const Operand<double> &other, const int32_t *owner_group,
                   const int32_t *other_group);
  double gradient(const Operand<double> &owner, const Direction<double> *own, const Operand<double> &other,
                  const Direction<double> *others, const int32_t *owner_group, const int32_t *other_group, float *output);

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

// The float64 scheme for whatever a constant shift cannot hold: very low temperatures, rows that are used as they are
// with large norms, rows far from every candidate. Each task owns rows and walks all of the other side twice, with a
// running maximum first and with the finished log-sum-exps after.
#pragma once

#include "cpu/passes.h"

namespace infonce::cpu {

class WideScheme final : public Scheme {
 public:
  WideScheme(const Request &request, const Kernels &kernels, const Pairs &pairs, ThreadPool &pool);

  void take_kept(Workspace::Cursor &cursor) override { passes_.take_kept(cursor, false); }
  void take_scratch(Workspace::Cursor &cursor) override;
  Outcome forward(infonce_result *result) override;
  void resume() override { passes_.resume(); }
  void backward(infonce_result *result) override;

 private:
  // A tower, the softmax over whose rows `direction` is, if there is one.
  struct Side {
    Tower tower;
    const Direction<double> *direction;
    const int32_t *groups;
  };
  Side rows() const { return {kAnchors, &passes_.rows, pairs_.anchor_groups()}; }
  Side columns() const;
  void log_sum_exp(const Side &owner, const Side &other);
  double gradient(const Side &owner, const Side &other, float *output);
  template <class Rows> void walk(Rows rows, int64_t first, int64_t end, void (*kernel)(const Rows &)) const;
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

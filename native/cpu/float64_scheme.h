// The float64 scheme, for logits that a constant shift cannot hold: very low temperatures, unnormalized rows with large
// norms, rows far from every candidate. Each task owns rows and passes over the other side twice, first with a running
// maximum, then with the finished log-sum-exps.
#pragma once

#include <utility>

#include "cpu/passes.h"

namespace infonce::cpu {

class Float64Scheme final : public Scheme {
 public:
  Float64Scheme(const Request &request, const Kernels &kernels, const Pairs &pairs, ThreadPool &pool);

  void take_up(const infonce_part *part, bool) override { passes_.take_up(part); }
  void take_kept(Workspace::Cursor &cursor) override { passes_.take_kept(cursor, false); }
  void take_scratch(Workspace::Cursor &cursor) override;
  void take_gradient(Workspace::Cursor &cursor) override;
  Outcome open() override;
  BadRow add() override;
  Outcome close(infonce_result *result) override;
  void open_gradient() override;
  BadRow add_gradient(float *gradient) override;
  void close_gradient(infonce_result *result) override;
  void read_rows(int softmax, const infonce_travelling_rows &to) const override { passes_.read_rows(softmax, to); }
  void join_rows(int softmax, const infonce_travelling_rows &from) override { passes_.join_rows(softmax, from); }

 private:
  // A side of a block, and the one that it meets there.
  struct Meeting {
    const Side<double> *owner, *other;
    double scale;  // of the block's logits
    bool by_threshold = false;
  };
  std::vector<Meeting> meetings_of(int matrix, bool triangles) const;
  void log_sum_exp(const Meeting &meeting);
  // Adds what the anchors of a task get of a part.
  void accumulate(const Meeting &meeting, int64_t task, double *accumulators, int thread);
  std::pair<double, double> gradient(int matrix, int64_t rows, float *output);
  template <class Rows> void walk(Rows rows, void (*kernel)(const Rows &)) const;
  Float64Rows float64_rows(const Meeting &meeting, int64_t first, int thread);
  int64_t doubles_of(int matrix) const {
    return blocks_of(passes_.layout().rows(matrix), kFloat64Rows) * accumulator_doubles();
  }
  int64_t accumulator_doubles() const { return kFloat64Rows * passes_.padded_dim(); }

  const Request &request_;
  const infonce_problem &problem_;
  const Kernels &kernels_;
  ThreadPool &pool_;
  Passes<double> passes_;
  const bool counts_apart_;
  // By matrix whose rows meet parts, and by task, while parts add to them.
  double *standing_[INFONCE_MOST_MATRICES] = {};
  double along_parts_ = 0;
  struct ThreadScratch {
    double *logits, *accumulators;
    double *guide_dots;  // as the logits; null without guides
  };
  std::vector<ThreadScratch> scratch_;
};

}  // namespace infonce::cpu

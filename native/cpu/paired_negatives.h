// InfoNCE with every query's own negatives [N, M, D]: rows share nothing, and each negative is read once for the logits
// and once for its gradient. The work is memory-bound, so all of it is float64. Nothing is prepared; later gradients
// need a copy of the inputs.
#pragma once

#include <cstddef>

#include "cpu/passes.h"

namespace infonce::cpu {

class PairedNegatives final : public Scheme {
 public:
  struct RowScratch {
    double *gradient;               // [dim]
    double *dots;                   // [M], of unit rows
    float *query, *key, *negative;  // [dim] each, for inputs of 16 bits
  };

  PairedNegatives(const Request &request, const Kernels &kernels, ThreadPool &pool);

  void take_kept(Workspace::Cursor &cursor) override;
  void take_scratch(Workspace::Cursor &cursor) override;
  Outcome open() override { return {}; }
  Outcome close(infonce_result *result) override;
  void open_gradient() override;
  void close_gradient(infonce_result *result) override;

 private:
  enum InputName { kQueries, kKeys, kNegatives, kInputs };
  struct RowOutcome {
    double loss, above, radial;
    BadRow bad;
  };
  struct Copy {
    std::byte *to;
    int64_t rows;  // of one query
  };
  // Clamped: by now another may stand there than the one that was found right.
  int64_t count_of(int64_t i) const {
    return counts_.empty() ? negatives_ : std::clamp<int64_t>(counts_[i], 0, negatives_);
  }
  const infonce_matrix &matrix(InputName input) const { return problem_.matrices[matrices_[input]]; }
  RowOutcome row(int64_t i, const RowScratch &scratch, infonce_result *result) const;

  const Request &request_;
  const infonce_problem &problem_;
  const Kernels &kernels_;
  ThreadPool &pool_;
  const int matrices_[kInputs];
  const int64_t queries_, negatives_;  // rows; of negatives, those of one query
  Upstream upstream_;
  Input inputs_[kInputs];
  Copy copies_[kInputs];
  std::vector<float> key_bias_;  // empty: none
  std::vector<int32_t> counts_;  // empty: all are there
  RowOutcome *outcomes_ = nullptr;
  std::vector<RowScratch> scratch_;
  bool gradients_are_written_ = false;
};

}  // namespace infonce::cpu

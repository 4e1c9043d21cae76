// The pairs of anchors and their own candidates, besides blocks that all anchors share. The candidates are read in
// place, in float64, once for the logits and once for the gradient; those that no other anchor sees are not packed.
// Later gradients need the dot products and a copy of the rows.
#pragma once

#include <cstddef>
#include <vector>

#include "common/call.h"
#include "cpu/input.h"
#include "cpu/layout.h"
#include "cpu/paired_row.h"
#include "cpu/pairs.h"
#include "cpu/scheme.h"
#include "cpu/thread_pool.h"
#include "cpu/workspace.h"

namespace infonce::cpu {

class OwnCandidates {
 public:
  OwnCandidates(const Request &request, const Layout &layout, const Kernels &kernels, const Pairs &pairs,
                ThreadPool &pool);

  bool exist() const { return block_ != nullptr; }
  // Whether they are rows of this matrix, which other anchors see as well: row j of it is of anchor_of(j).
  bool are_among(int matrix) const {
    return exist() && block_->own == INFONCE_OWN_AMONG && matrix == block_->candidates;
  }
  int64_t anchor_of(int64_t j) const { return j % anchors_; }
  double logit_of_row(int64_t j) const { return logit(j % anchors_, j / anchors_); }
  void take_kept(Workspace::Cursor &cursor);
  void take_scratch(Workspace::Cursor &cursor);

  // Dot products with the anchors, and how many are above that of the positive.
  BadRow measure();
  double above(int64_t i) const { return outcomes_[i].above; }

  // Adds row i's to its loss.
  template <class Row> void add_to_loss(int64_t i, Row *row) const {
    for (int64_t h = 0; h < count_of(i); ++h) row->add(logit(i, h), false);
  }

  // Where `add_gradient` writes; null, as at first: it does not.
  void write_gradient_to(float *gradient) { gradient_ = gradient; }
  // Writes the gradients of row i's, and returns [dim] what anchor i gets of them over `factor`. `weight(logit)`:
  // d loss / d logit over the upstream gradient's largest size, which is in `factor` with the scale.
  template <class Weight> const double *add_gradient(int64_t i, double factor, int thread, Weight &&weight) const {
    const Scratch &scratch = scratch_[thread];
    PairedRow rows(problem_, kernels_, scratch.gradient);
    rows.clear();
    const PlainRow anchor = rows.row(inputs_[kAnchors].rows(i, 1, scratch.anchor));
    for (int64_t h = 0; h < count_of(i) && !pool_.cancelled(); ++h) {
      const PlainRow own = rows.row(inputs_[kOwn].rows(row_of(i, h), 1, scratch.own));
      const double of_row = weight(logit(i, h));
      rows.add(own, of_row);
      if (gradient_) rows.write_gradient(own, anchor, of_row * factor, dots_[i * each_ + h], gradient_of(i, h));
    }
    if (gradient_) std::fill(gradient_of(i, count_of(i)), gradient_of(i + 1, 0), 0.0f);
    return scratch.gradient;
  }

 private:
  enum InputName { kAnchors, kOwn, kInputs };
  struct Scratch {
    double *gradient;                // [dim]
    float *anchor, *positive, *own;  // [dim] each, for inputs of 16 bits
  };
  struct RowOutcome {
    double above;
    BadRow bad;
  };
  struct Copy {
    std::byte *to;
    int64_t rows;  // of one anchor
  };

  int64_t row_of(int64_t i, int64_t h) const {
    return block_->own == INFONCE_OWN_AMONG ? h * anchors_ + i : i * each_ + h;
  }
  int64_t count_of(int64_t i) const { return counts_.empty() ? each_ : counts_[i]; }
  double logit(int64_t i, int64_t h) const { return scale_ * dots_[i * each_ + h]; }
  float *gradient_of(int64_t i, int64_t h) const { return gradient_ + row_of(i, h) * problem_.dim; }
  RowOutcome measure_row(int64_t i, const Scratch &scratch) const;

  const Request &request_;
  const infonce_problem &problem_;
  const Layout &layout_;
  const Kernels &kernels_;
  const Pairs &pairs_;
  ThreadPool &pool_;
  const infonce_block *const block_;
  const int64_t anchors_;
  int64_t each_ = 0;             // of an anchor
  double scale_ = 0;             // of their logits
  std::vector<int32_t> counts_;  // empty: all are there
  Input inputs_[kInputs], positives_;
  Copy copies_[kInputs] = {};
  double *dots_ = nullptr;  // [N, H], of unit rows
  RowOutcome *outcomes_ = nullptr;
  std::vector<Scratch> scratch_;
  float *gradient_ = nullptr;
};

}  // namespace infonce::cpu

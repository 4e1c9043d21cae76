#include "cpu/own_candidates.h"

#include <algorithm>

namespace infonce::cpu {

OwnCandidates::OwnCandidates(const Request &request, const Layout &layout, const Kernels &kernels, const Pairs &pairs,
                             ThreadPool &pool)
    : request_(request),
      problem_(request.problem),
      layout_(layout),
      kernels_(kernels),
      pairs_(pairs),
      pool_(pool),
      block_(own_block_of(problem_)),
      anchors_(layout.rows(layout.anchors())) {
  if (!exist()) return;
  const infonce_matrix &anchors = problem_.matrices[layout.anchors()], &own = problem_.matrices[block_->candidates];
  each_ = own.rows / anchors_;
  scale_ = own_scale_of(problem_, *block_);
  // Clamped: by now another may stand there than the one that was found right.
  for (int64_t i = 0; own.counts && i < anchors_; ++i) counts_.push_back(std::clamp(own.counts[i], 0, int32_t(each_)));
  positives_ = Input(problem_.matrices[layout.elsewhere()], problem_.dim, kernels);
  for (const InputName input : {kAnchors, kOwn}) {
    const infonce_matrix &of = input == kOwn ? own : anchors;
    inputs_[input] = Input(of, problem_.dim, kernels);
    copies_[input] = {nullptr, of.rows / anchors_};
  }
}

void OwnCandidates::take_kept(Workspace::Cursor &cursor) {
  if (!exist()) return;
  dots_ = cursor.take<double>(anchors_ * each_);
  if (!request_.in_halves) return;
  for (int input = 0; input < kInputs; ++input) {
    Copy &copy = copies_[input];
    copy.to = cursor.take<std::byte>(anchors_ * copy.rows * inputs_[input].row_bytes());
  }
}

void OwnCandidates::take_scratch(Workspace::Cursor &cursor) {
  if (!exist()) return;
  outcomes_ = cursor.take<RowOutcome>(anchors_);
  scratch_.resize(pool_.active_threads());
  for (Scratch &scratch : scratch_) {
    scratch.gradient = cursor.take<double>(problem_.dim);
    for (float **row : {&scratch.anchor, &scratch.positive, &scratch.own}) *row = cursor.take<float>(problem_.dim);
  }
}

BadRow OwnCandidates::measure() {
  if (!exist()) return {};
  pool_.parallel(anchors_, [&](int64_t i, int thread) {
    outcomes_[i] = measure_row(i, scratch_[thread]);
    for (int input = 0; input < kInputs; ++input) {
      const Copy &copy = copies_[input];
      if (copy.to) inputs_[input].copy_rows(i * copy.rows, copy.rows, copy.to);
    }
  });
  for (int input = 0; input < kInputs; ++input)
    if (copies_[input].to) inputs_[input].move_to(copies_[input].to);
  for (int64_t i = 0; i < anchors_; ++i)
    if (outcomes_[i].bad.row >= 0) return outcomes_[i].bad;
  return {};
}

// The positive's dot product is taken as those of the candidates, so that a duplicate of it does not outrank it.
OwnCandidates::RowOutcome OwnCandidates::measure_row(int64_t i, const Scratch &scratch) const {
  PairedRow rows(problem_, kernels_, nullptr);
  RowOutcome outcome{};
  const PlainRow anchor = rows.row(inputs_[kAnchors].rows(i, 1, scratch.anchor));
  const int64_t j = pairs_.first_positives()[i];
  const PlainRow positive = rows.row(positives_.rows(layout_.place_of(j).row, 1, scratch.positive));
  const double margin = problem_.softmaxes[0].margin;
  const double rank = rows.dot(anchor, positive) + pairs_.bias(j) / problem_.scale - margin;
  for (int64_t h = 0; h < count_of(i) && !pool_.cancelled(); ++h) {
    const PlainRow own = rows.row(inputs_[kOwn].rows(row_of(i, h), 1, scratch.own));
    if (!rows.finite() && outcome.bad.row < 0) outcome.bad = {block_->candidates, row_of(i, h)};
    double &dot = dots_[i * each_ + h];
    dot = rows.dot(anchor, own);
    outcome.above += dot > rank;
  }
  return outcome;
}

}  // namespace infonce::cpu

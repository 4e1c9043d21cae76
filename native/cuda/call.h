// One call on the device: what it needs, in which order its kernels run, what is brought back.
#pragma once

#include "cuda/classes.h"
#include "cuda/plan.h"
#include "cuda/workspace.h"
#include "infonce/infonce.h"

namespace infonce::cuda {

// Events around the parts of a call, for contexts that measure.
class Clock {
 public:
  explicit Clock(bool runs) : runs_(runs) {}

  enum Mark { kBegin, kUploaded, kComputed, kDownloaded, kMarks };
  void mark(cudaStream_t stream, Mark which) const {
    if (runs_) events_[which].record(stream);
  }
  void read(infonce_result *result) const;  // after all that was marked

 private:
  bool runs_;
  Event events_[kMarks] = {Event(cudaEventDefault), Event(cudaEventDefault), Event(cudaEventDefault),
                           Event(cudaEventDefault)};
};

// What calls of a context share.
struct Resources {
  Resources(cudaStream_t stream_of_caller, bool measure) : stream(stream_of_caller), clock(measure) {}

  Stream stream;
  Workspace workspace;
  Staging staging;
  PageLocked<Report> report;
  Event gradient_ready[kTowers], all_ready, decided;
  Clock clock;
};

struct BadRow {
  int32_t input = INFONCE_INPUT_NONE;
  int64_t row = -1;
};

class Call {
 public:
  // With `logits` [N, N - 1], SimCLR's logits are what is asked for.
  Call(const infonce_problem &problem, infonce_result *result, infonce_precision precision, Resources &resources,
       float *logits = nullptr);

  // Queues all work and waits for it, unless the caller has given device memory for the scalars.
  BadRow run();
  BadRow run_logits();

 private:
  // The tower whose gradient a step computes, and the one its weights are columns of.
  struct Side {
    TowerName owner, other;
    const Direction *owner_direction, *other_direction;  // null: that side has no softmax
    bool in_matrix;                                      // false: its gradient is that of its pairs alone
    float *gradient;
  };

  bool one_tower() const { return problem_.denominator == INFONCE_DENOMINATOR_OTHER_ANCHORS; }
  bool own_negatives() const { return problem_.denominator == INFONCE_DENOMINATOR_OWN_NEGATIVES; }
  bool on_host() const { return problem_.on_device == 0; }
  bool has(TowerName name) const { return towers_[name].rows > 0; }
  TowerName candidates() const {
    return one_tower() ? kAnchors : problem_.denominator == INFONCE_DENOMINATOR_ALL_KEYS ? kKeys : kNegatives;
  }
  int64_t size_of(TowerName name) const;

  void choose_scheme();
  void pad_towers();
  bool is_triangular() const { return one_tower() && !online_; }
  SweepPlan sweep_plan(TowerName rows, TowerName columns) const;
  PanelPlan panel_plan(TowerName owner, TowerName other) const;
  int32_t register_splits(TowerName owner, TowerName other) const;
  void take(Workspace::Cursor &cursor);
  void take_direction(Workspace::Cursor &cursor, Direction *direction);
  void take_classes(Workspace::Cursor &cursor);
  void take_statistics(Workspace::Cursor &cursor);
  void take_accumulators(Workspace::Cursor &cursor);
  void begin();
  void upload();
  void prepare_towers();
  void find_pairs();
  void sweep(TowerName rows, TowerName columns, const Direction &row_direction, const Direction *column_direction);
  void sum_exponentials();
  void put_losses_together();
  void compute_gradients();
  void accumulate(const Side &side);
  int32_t accumulate_narrowly(const Side &side);
  int32_t accumulate_through_panel(const Side &side);
  template <class Scalar> void finish(const Side &side, Scalar *accumulators, int32_t splits);
  void compute_own_negatives();
  void add_up();
  void compute();
  void spoil_results();
  void decide();
  void ask_for_report();
  BadRow read_report();
  BadRow bring_back();
  Softmax softmax() const;
  WeightsOf weights_of(const Side &side) const;
  int64_t longest_rows() const;
  int64_t wide_panel_elements() const;
  bool wants_row_loss() const { return problem_.reduction == INFONCE_REDUCTION_NONE; }

  const infonce_problem &caller_;
  infonce_result *result_;
  infonce_problem problem_;  // as the caller's, with pointers to the device
  infonce_result output_;    // likewise
  Resources &resources_;
  Stream &stream_;
  Classes classes_;
  Planes planes_;
  bool online_ = false;  // a constant shift of the exponents could not hold them
  // Which kernels compute: those of bfloat16 products, or those of float64 where float32 would lose digits. Both may be
  // true until the first kernels have seen the data.
  bool narrow_ = true, wide_ = false;
  double largest_logit_ = 0;  // that narrow kernels can hold
  bool in_registers_ = false;
  float exponent_ = 0;

  Tower towers_[kTowers] = {};
  Upstream upstream_ = {};
  Pairs pairs_ = {};
  PositiveRule rule_ = {};
  PairLogits pair_logits_ = {};
  ClassSums class_sums_ = {};
  int32_t *class_of_ = nullptr, *order_ = nullptr;
  Range *apart_ = nullptr, *members_ = nullptr, *large_ = nullptr;
  Direction rows_ = {}, columns_ = {};
  float *no_weight_ = nullptr, *no_log2_sum_ = nullptr;  // of a side without softmax
  unsigned char *zeroed_ = nullptr;                      // what begins with zeros
  int64_t zeroed_bytes_ = 0;
  Partials by_row_ = {}, by_column_ = {};
  TileShape shape_ = TileShape::kSquare;
  __nv_bfloat16 *panel_ = nullptr;
  float *accumulators_ = nullptr;
  double *wide_panel_ = nullptr, *wide_accumulators_ = nullptr;
  float *caller_logits_, *logits_ = nullptr;
  double *radial_ = nullptr;
  double2 *dots_ = nullptr;
  Report *report_ = nullptr;
};

}  // namespace infonce::cuda

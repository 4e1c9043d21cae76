// One call on the device: what it needs, in which order its kernels run, what is brought back.
#pragma once

#include <optional>

#include "common/call.h"
#include "cuda/classes.h"
#include "cuda/lane.h"
#include "cuda/plan.h"
#include "infonce/infonce.h"

namespace infonce::cuda {

struct BadRow {
  int32_t matrix = INFONCE_NO_MATRIX;  // or INFONCE_IN_GRAD_OUTPUT
  int64_t row = -1;
};

class Call {
 public:
  // kForward keeps what kBackward needs apart from what only it needs itself. kLogits: SimCLR's logits alone.
  enum class Part { kWhole, kForward, kBackward, kLogits };

  // The arrays and `result` must stay until end(), the problem need not.
  Call(const infonce_problem &problem, infonce_result *result, infonce_precision precision, Lane &lane,
       Part part = Part::kWhole, infonce_output logits = {});

  // After the forward call, as often as wanted: what begins next is the backward call.
  void turn_backward(const infonce_upstream &upstream, infonce_result *result, Lane &lane);

  // Bytes of the device's memory that place() takes.
  int64_t size();
  // Takes the memory, or throws OutOfMemory. What must stay until the backward call goes to `kept`.
  void place(Workspace *kept = nullptr);
  // Queues all work. The kernels come after those of `previous`, which may be null.
  void begin(Lane *previous);
  // Waits for it and fills the result, unless the caller has given device memory for the scalars. The first bad row, if
  // that is to fail the call.
  BadRow end();

  // Whether work may go on after end().
  bool returns_early() const { return returns_early_; }

 private:
  // The tower whose gradient a step computes, and the one its weights are columns of.
  struct Side {
    TowerName owner, other;
    const Direction *owner_direction, *other_direction;  // null: that side has no softmax
    bool in_matrix;                                      // false: its gradient is that of its pairs alone
    float *gradient;
  };
  struct Input {
    const void *caller = nullptr;
    int32_t type = INFONCE_FLOAT32;
    bool on_device = false;
    float *rows = nullptr;   // a copy in float32; null while the caller's array serves
    void *halves = nullptr;  // a copy of what the host has in 16 bits
  };
  struct Array {  // that the call fills
    infonce_output caller;
    float **device;
    int64_t count;
    const Event *ready;

    bool on_device() const { return caller.residence == INFONCE_ON_DEVICE; }
  };

  bool one_tower() const { return roles_.one_tower(); }
  bool own_negatives() const { return roles_.own_negatives(); }
  bool has_memory() const { return roles_.has_memory(); }
  bool has(TowerName name) const { return towers_[name].rows > 0; }
  int matrix_of(TowerName name) const {
    return name == kAnchors ? roles_.anchors : name == kKeys ? roles_.keys : roles_.negatives;
  }
  float *gradient_of(TowerName name) const { return output_.gradients[matrix_of(name)].data; }
  bool computes_gradient() const { return problem_.gradient && part_ != Part::kForward && part_ != Part::kLogits; }
  bool wants_row_loss() const {
    return problem_.reduction == INFONCE_REDUCTION_NONE && (part_ == Part::kWhole || part_ == Part::kForward);
  }
  bool wants_gradient_of(TowerName name) const;
  TowerName candidates() const {
    return one_tower() ? kAnchors : roles_.candidates == Candidates::kKeys ? kKeys : kNegatives;
  }
  bool is_in_place(const Input &input) const {
    return input.on_device && input.type == INFONCE_FLOAT32 && part_ != Part::kForward;
  }
  int64_t rows() const { return towers_[kAnchors].rows; }
  int64_t size_of(TowerName name) const { return problem_.matrices[matrix_of(name)].rows * problem_.dim; }
  Stream &stream() const { return lane_->stream; }
  // Non-finite input turns the arrays into NaN after their kernels.
  const Event *ready(TowerName name) const {
    return problem_.propagate_non_finite ? &lane_->all_ready : &lane_->gradient_ready[name];
  }
  template <class Visit> void for_each_array(Visit &&visit);
  bool all_on_device();

  void choose_scheme();
  bool takes_sm90() const;
  void pad_towers();
  bool is_triangular(TowerName rows, TowerName columns) const { return rows == columns && !online_; }
  SweepPlan sweep_plan(TowerName rows, TowerName columns) const;
  bool one_panel_for_both() const;
  PanelUse panel_use(TowerName owner, TowerName other) const;
  const PanelPlan &panel_plan(TowerName owner, TowerName other) const;
  PanelPlan plan_panel_of(TowerName owner, TowerName other) const;
  int32_t register_splits(TowerName owner, TowerName other) const;
  int64_t longest_rows() const;
  int64_t wide_panel_elements() const;

  void take_kept(Workspace::Cursor &cursor);
  void take_scratch(Workspace::Cursor &cursor);
  void take_direction(Workspace::Cursor &cursor, Direction *direction);
  void take_classes(Workspace::Cursor &cursor);
  void take_statistics(Workspace::Cursor &cursor);
  void take_accumulators(Workspace::Cursor &cursor);

  void clear();
  void upload_all();
  void bring_rows_into_place();
  void prepare_towers();
  void find_pairs();
  const Pairs &pairs_of(TowerName columns) const {
    return one_tower() && columns == kNegatives ? memory_pairs_ : pairs_;
  }
  void flash();
  void sweep(TowerName rows, TowerName columns, const Direction &row_direction, const Direction *column_direction);
  void sum_exponentials(Lane *previous);
  void put_losses_together();
  void compute_gradients();
  void accumulate(const Side &side);
  void accumulate_both(const Side &side, const Side &other);
  int32_t accumulate_narrowly(const Side &side, float *accumulators);
  int32_t accumulate_through_panel(const Side &side, float *accumulators);
  int32_t accumulate_through_panel_of_warpgroups(const Side &side, float *accumulators);
  int32_t accumulate_widely(const Side &side, double *accumulators);
  template <class Scalar>
  void finish(const Side &side, const Scalar *accumulators, int32_t splits, int32_t all_splits, Scalar *sums,
              const float *factor = nullptr);
  void compute_own_negatives();
  void add_up();
  void compute(Lane *previous);
  void spoil_arrays();
  void decide(Lane *previous);
  void ask_for_report();
  void queue_downloads();
  BadRow read_report();
  Softmax softmax() const;
  WeightsOf weights_of(const Side &side) const;

  Part part_;
  infonce_problem problem_;
  Roles roles_;
  infonce_result *result_;
  infonce_result output_;  // as the caller's, with pointers to the device
  Lane *lane_;
  Classes classes_;
  Planes planes_;
  bool online_ = false;  // a constant shift of the exponents could not hold them
  // Which kernels compute: those of bfloat16 products, or those of float64 where float32 would lose digits. Both may be
  // true until the first kernels have seen the data.
  bool narrow_ = true, wide_ = false;
  double largest_logit_ = 0;  // that narrow kernels can hold
  bool sm90_ = false;         // by the kernels for compute capability 9.0
  bool in_registers_ = false;
  mutable std::optional<PanelPlan> panel_plans_[kTowers][kTowers];  // it takes some microseconds to find one
  bool flash_ = false;  // one pass for the anchors' log-sum-exp and what their gradient sums
  float exponent_ = 0;

  Input inputs_[kTowers];
  const float *grad_output_ = nullptr;
  Tower towers_[kTowers] = {};
  Upstream upstream_ = {};
  Pairs pairs_ = {}, memory_pairs_ = {};
  PositiveRule rule_ = {};
  PairLogits pair_logits_ = {};
  ClassSums class_sums_ = {};
  int32_t *class_of_ = nullptr, *order_ = nullptr, *memory_order_ = nullptr;
  Range *apart_ = nullptr, *members_ = nullptr, *large_ = nullptr;
  Range *memory_apart_ = nullptr, *memory_members_ = nullptr, *memory_large_ = nullptr;
  Direction rows_ = {}, columns_ = {};
  float *no_weight_ = nullptr, *no_log2_sum_ = nullptr;  // of a side without softmax
  unsigned char *zeroed_ = nullptr;                      // what begins with zeros
  size_t zeroed_bytes_ = 0;
  Partials by_row_ = {}, by_column_ = {};
  TileShape shape_ = TileShape::kSquare;
  __nv_bfloat16 *panel_ = nullptr;
  float *accumulators_ = nullptr, *flash_accumulators_ = nullptr;
  float *other_accumulators_ = nullptr;  // of one panel for both
  double *wide_panel_ = nullptr, *wide_accumulators_ = nullptr;
  infonce_output caller_logits_;
  float *logits_ = nullptr;
  double *radial_ = nullptr;
  double2 *dots_ = nullptr;
  Report *report_ = nullptr;
  uint32_t waiting_arrays_ = 0;  // bits by turn of those that end() brings through staging buffers
  bool downloads_ = false;       // something is brought back
  bool returns_early_ = false;
};

template <class Visit> void Call::for_each_array(Visit &&visit) {
  if (part_ == Part::kLogits)
    visit(Array{caller_logits_, &logits_, rows() * (rows() - 1), &lane_->all_ready});
  if (wants_row_loss()) visit(Array{result_->row_loss, &output_.row_loss.data, rows(), &lane_->all_ready});
  for (const TowerName name : {kAnchors, kKeys, kNegatives}) {
    const int matrix = matrix_of(name);
    if (wants_gradient_of(name))
      visit(Array{result_->gradients[matrix], &output_.gradients[matrix].data, size_of(name), ready(name)});
  }
}

}  // namespace infonce::cuda

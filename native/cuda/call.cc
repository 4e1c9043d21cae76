#include "cuda/call.h"

#include <algorithm>
#include <initializer_list>

namespace infonce::cuda {
namespace {

constexpr double kSafeLogit = 70;         // e^70 times a million rows, and its reciprocal, are normal float32 numbers
constexpr double kLargestLogit = 110;     // above, float32 has too few digits for a logit of level 'highest'
constexpr double kLargestOfLevels = 1e6;  // above, for the difference of two logits at the levels below
constexpr double kLog2E = 1.4426950408889634;
constexpr int64_t kWidePanel = int64_t(4) << 20;  // elements

int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// Large classes need the level above: within a class p - 1 / positives cancels.
Planes planes_for(infonce_precision precision, const Classes &classes) {
  const bool large = !classes.large.empty();
  if (precision == INFONCE_PRECISION_MEDIUM) return large ? Planes::kHigh : Planes::kMedium;
  if (precision == INFONCE_PRECISION_HIGH) return large ? Planes::kHighest : Planes::kHigh;
  return Planes::kHighest;
}

}  // namespace

Call::Call(const infonce_problem &problem, infonce_result *result, infonce_precision precision, Lane &lane, Part part,
           infonce_output logits)
    : part_(part),
      problem_(problem),
      roles_(roles_of(problem)),
      result_(result),
      output_(*result),
      lane_(&lane),
      classes_(problem, roles_),
      planes_(planes_for(precision, classes_)),
      caller_logits_(logits) {
  if (part == Part::kForward) problem_.gradient = 1, problem_.grad_output = {};
  rule_ = {one_tower(), problem.softmaxes[0].positive == INFONCE_POSITIVE_FIRST_VIEW};
  exponent_ = float(problem.scale * kLog2E);
  for (const TowerName name : {kAnchors, kKeys, kNegatives}) {
    towers_[name].views = 1;
    if (matrix_of(name) < 0) continue;
    const infonce_matrix &matrix = problem.matrices[matrix_of(name)];
    inputs_[name] = {matrix.data, matrix.type, matrix.residence == INFONCE_ON_DEVICE};
    towers_[name].rows = name == kNegatives ? negatives_of_anchor(problem, roles_) : matrix.rows;
  }
  if (one_tower() && problem.softmaxes[0].positive != INFONCE_POSITIVE_SAME_ID)
    towers_[kAnchors].views = problem.matrices[roles_.anchors].views;
  sm90_ = takes_sm90();
  choose_scheme();
  pad_towers();
  shape_ = shape_of_tiles(stream(), planes_, online_, towers_[kAnchors].padded_dim, sm90_);
  returns_early_ = output_.device_scalars && all_on_device();
}

void Call::turn_backward(const infonce_upstream &upstream, infonce_result *result, Lane &lane) {
  part_ = Part::kBackward;
  problem_.grad_output = upstream.grad_output;
  problem_.cancelled = upstream.cancelled;
  result_ = result;
  output_ = *result;
  lane_ = &lane;
  waiting_arrays_ = 0;
  downloads_ = false;
  returns_early_ = output_.device_scalars && all_on_device();
}

// Every array that this part of the call reads or fills.
bool Call::all_on_device() {
  bool all = problem_.grad_output.count == 0 || problem_.grad_output.residence == INFONCE_ON_DEVICE;
  for (int name = kAnchors; name < kTowers && part_ != Part::kBackward; ++name)
    all &= !has(TowerName(name)) || inputs_[name].on_device;
  for_each_array([&](const Array &array) { all &= array.on_device(); });
  return all;
}

void Call::choose_scheme() {
  largest_logit_ = planes_ == Planes::kHighest ? kLargestLogit : kLargestOfLevels;
  if (problem_.normalize) {
    online_ = problem_.scale > kSafeLogit;
    narrow_ = problem_.scale <= largest_logit_ * (1 + 1e-6);
    wide_ = !narrow_ || !classes_.large.empty();
  } else {
    online_ = wide_ = true;
  }
}

// Their tiles are large: below, few multiprocessors would have one.
bool Call::takes_sm90() const {
  constexpr int64_t kLeastLogits = int64_t(2048) * 2048;
  if (stream().sm90() != UseOfSm90::kWhereFaster) return stream().sm90() == UseOfSm90::kAlways;
  return rows() * std::max(rows(), towers_[kNegatives].rows) >= kLeastLogits;
}

void Call::pad_towers() {
  int64_t padded_dim = round_up(problem_.dim, kDimMultiple);
  if (narrow_ && !online_ && problem_.gradient) {
    constexpr int64_t kMostRowsOfHigh = 8 * kMostColumnsOfHigh;  // beyond, too many splits
    const int64_t register_dim = padded_dim <= 128 ? padded_dim : 256;
    const int64_t most_rows = std::max(rows(), towers_[kNegatives].rows);
    in_registers_ = padded_dim <= 256 && gradient_in_registers(stream(), planes_, register_dim, sm90_) &&
                    (planes_ == Planes::kMedium || most_rows <= kMostRowsOfHigh);
    if (in_registers_) padded_dim = register_dim;
    flash_ = sm90_ && in_registers_ && !one_tower() && !roles_.both_directions;
  }
  for (Tower &tower : towers_) {
    tower.dim = problem_.dim;
    tower.padded_dim = padded_dim;
    tower.padded_rows = round_up(tower.rows, kRowMultiple);
    tower.normalize = problem_.normalize != 0;
  }
}

bool Call::wants_gradient_of(TowerName name) const {
  if (!computes_gradient() || !has(name)) return false;
  return result_->gradients[matrix_of(name)].data != nullptr;
}

int64_t Call::longest_rows() const {
  int64_t longest = 0;
  for (const Tower &tower : towers_) longest = std::max(longest, tower.padded_rows);
  return longest;
}

int64_t Call::wide_panel_elements() const { return std::min(kWidePanel, longest_rows() * longest_rows()); }

SweepPlan Call::sweep_plan(TowerName rows, TowerName columns) const {
  return plan_sweep(stream(), planes_, shape_, towers_[rows].rows, towers_[columns].rows, towers_[rows].padded_dim,
                    is_triangular(rows, columns));
}

// Whether weights are written once for the gradients of two towers.
bool Call::one_panel_for_both() const {
  return narrow_ && !in_registers_ && is_of_warpgroups(shape_) && !one_tower() && wants_gradient_of(candidates());
}

PanelUse Call::panel_use(TowerName owner, TowerName other) const {
  if (owner == other) return PanelUse::kTriangle;
  if (one_tower()) return PanelUse::kRows;
  return one_panel_for_both() ? PanelUse::kRowsAndColumns : PanelUse::kRowsOfBoth;
}

const PanelPlan &Call::panel_plan(TowerName owner, TowerName other) const {
  std::optional<PanelPlan> &plan = panel_plans_[owner][other];
  if (!plan) plan = plan_panel_of(owner, other);
  return *plan;
}

PanelPlan Call::plan_panel_of(TowerName owner, TowerName other) const {
  const int64_t padded_dim = towers_[owner].padded_dim;
  if (!is_of_warpgroups(shape_))
    return plan_panel(stream(), planes_, shape_, towers_[owner].rows, towers_[other].rows, padded_dim);
  const PanelUse use = panel_use(owner, other);
  if (!one_tower()) owner = kAnchors, other = candidates();  // one plan for both
  return plan_panel(stream(), planes_, shape_, use, towers_[owner].rows, towers_[other].rows, padded_dim);
}

int32_t Call::register_splits(TowerName owner, TowerName other) const {
  const Tower &rows = towers_[owner];
  return plan_splits(stream(), planes_, rows.rows, towers_[other].rows, rows.padded_dim, sm90_);
}

int64_t Call::size() {
  Workspace::Cursor cursor(nullptr);
  take_kept(cursor);
  take_scratch(cursor);
  return int64_t(cursor.used());
}

void Call::place(Workspace *kept) {
  if (kept && part_ == Part::kForward) kept->lay_out(stream(), [&](Workspace::Cursor &cursor) { take_kept(cursor); });
  lane_->workspace.lay_out(stream(), [&](Workspace::Cursor &cursor) {
    if (!kept) take_kept(cursor);
    take_scratch(cursor);
  });
}

void Call::take_direction(Workspace::Cursor &cursor, Direction *direction) {
  const int64_t rows = towers_[kAnchors].padded_rows;
  direction->rank = cursor.take<float>(rows);
  direction->all_above = cursor.take<int32_t>(rows);
  direction->upstream = cursor.take<double>(rows);
  direction->log_sum_exp = cursor.take<double>(rows);
  direction->weight = cursor.take<float>(rows);
  direction->log2_sum = cursor.take<float>(rows);
  direction->target = cursor.take<float>(rows);
  direction->rest_share = cursor.take<double>(rows);
  direction->loss = cursor.take<double>(rows);
}

// What the gradients need: rows, operands, statistics.
void Call::take_kept(Workspace::Cursor &cursor) {
  const int64_t rows = towers_[kAnchors].padded_rows;
  for (int name = kAnchors; name < kTowers; ++name) {
    Input &input = inputs_[name];
    const bool is_copied = has(TowerName(name)) && !is_in_place(input);
    input.rows = is_copied ? cursor.take<float>(size_of(TowerName(name))) : nullptr;
  }
  radial_ = cursor.take<double>(rows);

  // What begins with zeros stands together.
  const size_t zeros = cursor.used();
  report_ = cursor.take<Report>(1);
  for (Direction *direction : {&rows_, &columns_}) {
    direction->sum = cursor.take<double>(rows);
    direction->offset = cursor.take<double>(rows);
    direction->above = cursor.take<int32_t>(rows);
  }
  const int64_t longest = longest_rows();
  no_weight_ = cursor.take<float>(longest);
  zeroed_ = reinterpret_cast<unsigned char *>(report_);
  zeroed_bytes_ = cursor.used() - zeros;
  no_log2_sum_ = cursor.take<float>(longest);
  for (Direction *direction : {&rows_, &columns_}) take_direction(cursor, direction);
  if (own_negatives()) return;

  for (Tower &tower : towers_) {
    if (tower.rows == 0) continue;
    tower.planes = cursor.take<__nv_bfloat16>(int64_t(planes_) * tower.plane_size());
    tower.inverse_norm = cursor.take<double>(tower.padded_rows);
  }
  if (flash_)
    flash_accumulators_ = cursor.take<float>(register_splits(kAnchors, candidates()) * towers_[kAnchors].plane_size());
  take_classes(cursor);
  pair_logits_.first = cursor.take<double>(rows);
  pair_logits_.slots = cursor.take<double>(classes_.most_partners * rows);
  pair_logits_.stride = rows;
  pair_logits_.most_pairs = classes_.most_partners;
}

void Call::take_classes(Workspace::Cursor &cursor) {
  const int64_t large = int64_t(classes_.large.size());
  order_ = cursor.take<int32_t>(int64_t(classes_.order.size()));
  apart_ = cursor.take<Range>(towers_[kAnchors].padded_rows);
  members_ = cursor.take<Range>(int64_t(classes_.members.size()));
  class_of_ = cursor.take<int32_t>(int64_t(classes_.class_of.size()));
  large_ = cursor.take<Range>(large);
  class_sums_.sums = cursor.take<double>(large * problem_.dim);
  class_sums_.squares = cursor.take<double>(large * problem_.dim);
  memory_order_ = cursor.take<int32_t>(int64_t(classes_.memory_order.size()));
  memory_apart_ = cursor.take<Range>(int64_t(classes_.memory_apart.size()));
  memory_members_ = cursor.take<Range>(int64_t(classes_.memory_members.size()));
  memory_large_ = cursor.take<Range>(int64_t(classes_.memory_large.size()));
}

// What is done with when the call is.
void Call::take_scratch(Workspace::Cursor &cursor) {
  for_each_array(
      [&](const Array &array) { *array.device = array.on_device() ? array.caller.data : cursor.take<float>(array.count); });
  const infonce_grad_output &upstream = problem_.grad_output;
  grad_output_ = upstream.residence == INFONCE_ON_DEVICE ? upstream.data : cursor.take<float>(upstream.count);
  for (int name = kAnchors; name < kTowers && part_ != Part::kBackward; ++name) {
    Input &input = inputs_[name];
    const bool is_half = has(TowerName(name)) && input.type != INFONCE_FLOAT32 && !input.on_device;
    input.halves = is_half ? cursor.take<uint16_t>(size_of(TowerName(name))) : nullptr;
  }
  if (own_negatives()) {
    dots_ = cursor.take<double2>(problem_.matrices[roles_.negatives].rows);
    return;
  }
  if (narrow_ && (part_ == Part::kWhole || part_ == Part::kForward)) take_statistics(cursor);
  if (computes_gradient()) take_accumulators(cursor);
}

void Call::take_statistics(Workspace::Cursor &cursor) {
  int64_t of_rows = 0, of_columns = 0;
  const auto include = [&](TowerName rows, TowerName columns, bool with_columns) {
    const SweepPlan plan = sweep_plan(rows, columns);
    of_rows = std::max(of_rows, int64_t(plan.runs) * plan.strip * rows_of(shape_));
    const int64_t sums = int64_t(plan.strip) * (rows_of(shape_) / rows_of_column_sums(shape_));
    if (with_columns) of_columns = std::max(of_columns, sums * towers_[columns].padded_rows);
  };
  if (flash_)
    of_rows = register_splits(kAnchors, candidates()) * towers_[kAnchors].padded_rows;
  else
    include(kAnchors, candidates(), !online_ && (one_tower() || roles_.both_directions));
  if (online_ && roles_.both_directions) include(kKeys, kAnchors, false);
  if (has_memory()) include(kAnchors, kNegatives, false);
  by_row_.sum = cursor.take<float>(of_rows);
  by_row_.above = cursor.take<int32_t>(of_rows);
  by_row_.maximum = online_ ? cursor.take<float>(of_rows) : nullptr;
  by_column_.sum = cursor.take<float>(of_columns);
  by_column_.above = cursor.take<int32_t>(of_columns);
}

void Call::take_accumulators(Workspace::Cursor &cursor) {
  int64_t floats = 0, other_floats = 0, doubles = 0, panel = 0;
  const auto include = [&](TowerName owner, std::initializer_list<TowerName> others, int64_t &floats) {
    int64_t splits = 0;
    for (const TowerName other : others) {
      const PanelPlan plan = in_registers_ ? PanelPlan{} : panel_plan(owner, other);
      splits += flash_ && owner == kAnchors ? 1 : in_registers_ ? register_splits(owner, other) : plan.splits;
      panel = std::max(panel, plan.elements(shape_));
    }
    const int64_t least = int64_t(others.size());  // a tower whose gradient is that of its pairs alone has one as well
    floats = std::max(floats, std::max(splits, least) * towers_[owner].plane_size());
    doubles = std::max(doubles, least * towers_[owner].plane_size());
  };
  if (has_memory()) {
    include(kAnchors, {kAnchors, kNegatives}, floats);
  } else {
    include(kAnchors, {candidates()}, floats);
    if (wants_gradient_of(candidates()))
      include(candidates(), {kAnchors}, one_panel_for_both() ? other_floats : floats);
  }
  if (narrow_) {
    accumulators_ = cursor.take<float>(floats);
    other_accumulators_ = cursor.take<float>(other_floats);
    panel_ = cursor.take<__nv_bfloat16>(int64_t(planes_) * panel);
  }
  if (wide_) {
    wide_accumulators_ = cursor.take<double>(doubles);
    wide_panel_ = cursor.take<double>(wide_panel_elements());
  }
}

}  // namespace infonce::cuda

#include "cuda/call.h"

#include <algorithm>

#include "common/call.h"
#include "cuda/launch/paired_negatives.h"
#include "cuda/launch/simclr_logits.h"
#include "cuda/launch/wide.h"

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

void Clock::read(infonce_result *result) const {
  if (!runs_) return;
  double *seconds[] = {&result->upload_seconds, &result->kernel_seconds, &result->download_seconds};
  for (int part = 0; part < kMarks - 1; ++part) {
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, events_[part].get(), events_[part + 1].get()), "reading an event");
    *seconds[part] = milliseconds / 1e3;
  }
}

Call::Call(const infonce_problem &problem, infonce_result *result, infonce_precision precision, Resources &resources,
           float *logits)
    : caller_(problem),
      result_(result),
      problem_(problem),
      output_(*result),
      resources_(resources),
      stream_(resources.stream),
      classes_(problem),
      planes_(planes_for(precision, classes_)),
      caller_logits_(logits) {
  rule_ = {one_tower(), problem.positive == INFONCE_POSITIVE_FIRST_VIEW};
  exponent_ = float(problem.scale * kLog2E);
  towers_[kAnchors].rows = problem.rows;
  towers_[kAnchors].views = one_tower() && problem.positive != INFONCE_POSITIVE_SAME_LABEL ? problem.views : 1;
  if (problem.keys) towers_[kKeys].rows = problem.rows;
  if (problem.negatives) towers_[kNegatives].rows = problem.negative_rows;
  towers_[kKeys].views = towers_[kNegatives].views = 1;
  choose_scheme();
  pad_towers();
  shape_ = shape_of_tiles(stream_, planes_, online_, towers_[kAnchors].padded_dim);
  resources.workspace.lay_out(stream_, [&](Workspace::Cursor &cursor) { take(cursor); });
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

void Call::pad_towers() {
  int64_t padded_dim = round_up(problem_.dim, kDimMultiple);
  if (narrow_ && !online_ && problem_.gradient) {
    constexpr int64_t kMostRowsOfHigh = 8 * kMostColumnsOfHigh;  // beyond, too many splits
    const int64_t register_dim = padded_dim <= 128 ? padded_dim : 256,
                  rows = std::max(problem_.rows, problem_.negative_rows);
    in_registers_ = padded_dim <= 256 && gradient_in_registers(stream_, planes_, register_dim) &&
                    (planes_ == Planes::kMedium || rows <= kMostRowsOfHigh);
    if (in_registers_) padded_dim = register_dim;
  }
  for (Tower &tower : towers_) {
    tower.dim = problem_.dim;
    tower.padded_dim = padded_dim;
    tower.padded_rows = round_up(tower.rows, kRowMultiple);
    tower.normalize = problem_.normalize != 0;
  }
}

int64_t Call::longest_rows() const {
  int64_t longest = 0;
  for (const Tower &tower : towers_) longest = std::max(longest, tower.padded_rows);
  return longest;
}

int64_t Call::wide_panel_elements() const { return std::min(kWidePanel, longest_rows() * longest_rows()); }

int64_t Call::size_of(TowerName name) const {
  const int64_t sets = name == kNegatives && own_negatives() ? problem_.rows : 1;
  return sets * towers_[name].rows * problem_.dim;
}

SweepPlan Call::sweep_plan(TowerName rows, TowerName columns) const {
  return plan_sweep(stream_, shape_, towers_[rows].rows, towers_[columns].rows, is_triangular());
}

PanelPlan Call::panel_plan(TowerName owner, TowerName other) const {
  const Tower &rows = towers_[owner], &columns = towers_[other];
  return plan_panel(stream_, planes_, shape_, rows.rows, columns.rows, rows.padded_dim);
}

int32_t Call::register_splits(TowerName owner, TowerName other) const {
  const Tower &rows = towers_[owner];
  return plan_splits(stream_, planes_, rows.rows, towers_[other].rows, rows.padded_dim);
}

void Call::take_direction(Workspace::Cursor &cursor, Direction *direction) {
  const int64_t rows = towers_[kAnchors].padded_rows;
  direction->rank = cursor.take<float>(rows);
  direction->upstream = cursor.take<double>(rows);
  direction->log_sum_exp = cursor.take<double>(rows);
  direction->weight = cursor.take<float>(rows);
  direction->log2_sum = cursor.take<float>(rows);
  direction->target = cursor.take<float>(rows);
  direction->rest_share = cursor.take<double>(rows);
  direction->loss = cursor.take<double>(rows);
}

void Call::take(Workspace::Cursor &cursor) {
  const int64_t rows = towers_[kAnchors].padded_rows;
  const void **inputs[kTowers] = {&problem_.anchors, &problem_.keys, &problem_.negatives};
  float **gradients[kTowers] = {&output_.grad_anchors, &output_.grad_keys, &output_.grad_negatives};
  for (int name = kAnchors; name < kTowers; ++name) {
    const TowerName tower = TowerName(name);
    if (!has(tower)) continue;
    if (on_host()) *inputs[name] = cursor.take<float>(size_of(tower));
    if (on_host() && problem_.gradient) *gradients[name] = cursor.take<float>(size_of(tower));
    if (!problem_.gradient) *gradients[name] = nullptr;
  }
  if (on_host() && problem_.grad_output_count > 0)
    problem_.grad_output = cursor.take<float>(problem_.grad_output_count);
  if (on_host() && wants_row_loss()) output_.row_loss = cursor.take<float>(problem_.rows);
  radial_ = cursor.take<double>(rows);
  logits_ = caller_logits_;
  if (caller_logits_ && on_host()) logits_ = cursor.take<float>(problem_.rows * (problem_.rows - 1));

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
  zeroed_bytes_ = int64_t(cursor.used() - zeros);
  no_log2_sum_ = cursor.take<float>(longest);
  for (Direction *direction : {&rows_, &columns_}) take_direction(cursor, direction);
  if (own_negatives()) {
    dots_ = cursor.take<double2>(problem_.rows * problem_.negative_rows);
    return;
  }

  for (Tower &tower : towers_) {
    if (tower.rows == 0) continue;
    tower.planes = cursor.take<__nv_bfloat16>(int64_t(planes_) * tower.plane_size());
    tower.inverse_norm = cursor.take<double>(tower.padded_rows);
  }
  take_classes(cursor);
  pair_logits_.first = cursor.take<double>(rows);
  pair_logits_.slots = cursor.take<double>(classes_.most_partners * rows);
  pair_logits_.stride = rows;
  if (narrow_) take_statistics(cursor);
  if (problem_.gradient) take_accumulators(cursor);
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
}

void Call::take_statistics(Workspace::Cursor &cursor) {
  int64_t of_rows = 0, of_columns = 0;
  const auto include = [&](TowerName rows, TowerName columns, bool with_columns) {
    const SweepPlan plan = sweep_plan(rows, columns);
    of_rows = std::max(of_rows, int64_t(plan.runs) * plan.strip * rows_of(shape_));
    if (with_columns) of_columns = std::max(of_columns, plan.strip * towers_[columns].padded_rows);
  };
  include(kAnchors, candidates(), !online_ && (one_tower() || problem_.both_directions));
  if (online_ && problem_.both_directions) include(kKeys, kAnchors, false);
  by_row_.sum = cursor.take<float>(of_rows);
  by_row_.above = cursor.take<int32_t>(of_rows);
  by_row_.maximum = online_ ? cursor.take<float>(of_rows) : nullptr;
  by_column_.sum = cursor.take<float>(of_columns);
  by_column_.above = cursor.take<int32_t>(of_columns);
}

void Call::take_accumulators(Workspace::Cursor &cursor) {
  const int64_t padded_dim = towers_[kAnchors].padded_dim;
  int64_t floats = longest_rows() * padded_dim, panel = 0;
  const auto include = [&](TowerName owner, TowerName other) {
    const PanelPlan plan = in_registers_ ? PanelPlan{} : panel_plan(owner, other);
    const int64_t splits = in_registers_ ? register_splits(owner, other) : plan.splits;
    floats = std::max(floats, splits * towers_[owner].plane_size());
    panel = std::max(panel, plan.elements(shape_));
  };
  if (narrow_) {
    include(kAnchors, candidates());
    include(candidates(), kAnchors);
    accumulators_ = cursor.take<float>(floats);
    panel_ = cursor.take<__nv_bfloat16>(int64_t(planes_) * panel);
  }
  if (wide_) {
    wide_accumulators_ = cursor.take<double>(longest_rows() * padded_dim);
    wide_panel_ = cursor.take<double>(wide_panel_elements());
  }
}

BadRow Call::run() {
  compute();
  if (on_host() || !output_.scalars) return bring_back();
  spoil_results();
  return {};
}

BadRow Call::run_logits() {
  begin();
  upload();
  prepare_towers();
  simclr_logits(stream_, towers_[kAnchors], problem_.scale, logits_);
  ask_for_report();
  resources_.all_ready.record(stream_.handle());
  const BadRow bad = read_report();
  const int64_t size = problem_.rows * (problem_.rows - 1);
  if (bad.row < 0 && on_host() && size > 0)
    resources_.staging.download(stream_, resources_.all_ready.get(), caller_logits_, logits_,
                                size_t(size) * sizeof(float));
  return bad;
}

void Call::compute() {
  resources_.clock.mark(stream_.handle(), Clock::kBegin);
  begin();
  upload();
  resources_.clock.mark(stream_.handle(), Clock::kUploaded);
  if (problem_.grad_output_count > 0)
    measure_upstream(stream_, problem_.grad_output, problem_.grad_output_count, report_);
  if (own_negatives()) {
    compute_own_negatives();
  } else {
    prepare_towers();
    find_pairs();
    sum_exponentials();
    put_losses_together();
    if (problem_.gradient) compute_gradients();
  }
  add_up();
  resources_.clock.mark(stream_.handle(), Clock::kComputed);
}

void Call::begin() {
  check(cudaMemsetAsync(zeroed_, 0, size_t(zeroed_bytes_), stream_.handle()), "clearing");
  // About 2^127 each: exp2 of anything less that is 0.
  if (online_)
    check(cudaMemsetAsync(no_log2_sum_, 0x7f, size_t(longest_rows()) * sizeof(float), stream_.handle()), "clearing");
  double factor = problem_.reduction == INFONCE_REDUCTION_MEAN ? 1.0 / double(problem_.rows) : 1.0;
  if (problem_.both_directions) factor /= 2;
  upstream_ = {problem_.grad_output, problem_.grad_output_count, factor, &report_->largest_upstream};
  const void *sources[kTowers] = {problem_.anchors, problem_.keys, problem_.negatives};
  for (int name = kAnchors; name < kTowers; ++name) towers_[name].source = static_cast<const float *>(sources[name]);
  if (!classes_.order.empty()) towers_[kAnchors].order = order_;
}

void Call::upload() {
  const auto copy = [&](const void *to, const void *from, int64_t count, size_t size) {
    if (count > 0) resources_.staging.upload(stream_, const_cast<void *>(to), from, size_t(count) * size);
  };
  const auto copy_all = [&](auto *to, const auto &vector) {
    copy(to, vector.data(), int64_t(vector.size()), sizeof *to);
  };
  if (on_host()) {
    copy(problem_.anchors, caller_.anchors, size_of(kAnchors), sizeof(float));
    copy(problem_.keys, caller_.keys, size_of(kKeys), sizeof(float));
    copy(problem_.negatives, caller_.negatives, size_of(kNegatives), sizeof(float));
    copy(problem_.grad_output, caller_.grad_output, problem_.grad_output_count, sizeof(float));
  }
  if (own_negatives()) return;
  copy_all(order_, classes_.order);
  copy_all(apart_, classes_.apart);
  copy_all(members_, classes_.members);
  copy_all(class_of_, classes_.class_of);
  copy_all(large_, classes_.large);
}

void Call::spoil_results() {
  Results results = {{}, {}, output_.scalars};
  int array = 0;
  for_each_result(problem_, output_, [&](float *values, int64_t count) {
    results.values[array] = values;
    results.count[array++] = count;
  });
  spoil(stream_, report_, results);
}

// What the first kernels say of the data. They are done long before the statistics that were queued behind them.
void Call::decide() {
  if (const cudaError_t code = cudaEventSynchronize(resources_.decided.get())) {
    stream_.synchronize();
    check(code, "waiting for the first kernels");
  }
  wide_ = resources_.report.get()->use_wide != 0;
  narrow_ = !wide_;
}

void Call::ask_for_report() {
  check(cudaMemcpyAsync(resources_.report.get(), report_, sizeof(Report), cudaMemcpyDeviceToHost, stream_.handle()),
        "copying from the device");
}

BadRow Call::read_report() {
  stream_.synchronize();
  const Report &report = *resources_.report.get();
  for (const int32_t input :
       {INFONCE_INPUT_GRAD_OUTPUT, INFONCE_INPUT_ANCHORS, INFONCE_INPUT_KEYS, INFONCE_INPUT_NEGATIVES})
    if (const int64_t row = report.first_bad_row(input); row >= 0) return {input, row};
  result_->loss = report.loss;
  result_->top1 = report.top1;
  result_->top5 = report.top5;
  if (problem_.gradient) result_->grad_scale = report.grad_scale;
  return {};
}

// Gradients of one tower are on their way while those of the next are computed.
BadRow Call::bring_back() {
  ask_for_report();
  resources_.all_ready.record(stream_.handle());
  const auto copy = [&](const Event &ready, float *to, const float *from, int64_t count) {
    if (on_host() && count > 0)
      resources_.staging.download(stream_, ready.get(), to, from, size_t(count) * sizeof(float));
  };
  if (problem_.gradient) {
    const Event *ready = resources_.gradient_ready;
    copy(ready[kAnchors], result_->grad_anchors, output_.grad_anchors, size_of(kAnchors));
    copy(ready[kKeys], result_->grad_keys, output_.grad_keys, size_of(kKeys));
    copy(ready[kNegatives], result_->grad_negatives, output_.grad_negatives, size_of(kNegatives));
  }
  if (wants_row_loss()) copy(resources_.all_ready, result_->row_loss, output_.row_loss, problem_.rows);
  const bool downloads = on_host() && (problem_.gradient || wants_row_loss());
  if (downloads) check(cudaStreamWaitEvent(resources_.staging.downloads(), resources_.all_ready.get(), 0), "waiting");
  resources_.clock.mark(downloads ? resources_.staging.downloads() : stream_.handle(), Clock::kDownloaded);
  const BadRow bad = read_report();
  if (downloads) check(cudaStreamSynchronize(resources_.staging.downloads()), "copying from the device");
  resources_.clock.read(result_);
  return bad;
}

}  // namespace infonce::cuda

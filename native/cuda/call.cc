#include "cuda/call.h"

#include <algorithm>

#include "cuda/launch/paired_negatives.h"
#include "cuda/launch/simclr_logits.h"
#include "cuda/launch/wide.h"

namespace infonce::cuda {
namespace {

constexpr double kSafeLogit = 70;      // e^70 times a million rows, and its reciprocal, are normal float32 numbers
constexpr double kLargestLogit = 110;  // above, float32 has too few digits for a logit of level 'highest'
constexpr double kLog2E = 1.4426950408889634;
constexpr int64_t kPartialBytes = int64_t(128) << 20;  // of the column statistics of one launch
constexpr int64_t kMostTilesOfRun = 32;  // a float32 sum over no more than 4096 columns
constexpr int64_t kMostTileRows = 32768;  // of a launch: a grid has at most 65,535 blocks that way
constexpr int64_t kWidePanel = int64_t(4) << 20;  // elements
constexpr int32_t kInputOf[kTowers] = {INFONCE_INPUT_ANCHORS, INFONCE_INPUT_KEYS, INFONCE_INPUT_NEGATIVES};

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
  const bool tight_classes = !classes_.large.empty(), highest = planes_ == Planes::kHighest;
  if (problem.normalize) {
    online_ = problem.scale > kSafeLogit;
    wide_ = highest && problem.scale > kLargestLogit * (1 + 1e-6);
    narrow_ = !wide_;
  } else {
    online_ = true;
    wide_ = highest;
  }
  wide_ |= tight_classes;

  rule_ = {one_tower(), problem.positive == INFONCE_POSITIVE_FIRST_VIEW};
  exponent_ = float(problem.scale * kLog2E);
  towers_[kAnchors].rows = problem.rows;
  towers_[kAnchors].views = one_tower() && problem.positive != INFONCE_POSITIVE_SAME_LABEL ? problem.views : 1;
  if (problem.keys) towers_[kKeys].rows = problem.rows;
  if (problem.negatives) towers_[kNegatives].rows = problem.negative_rows;
  towers_[kKeys].views = towers_[kNegatives].views = 1;
  choose();
  resources.workspace.lay_out(stream_, [&](Workspace::Cursor &cursor) { take(cursor); });
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

Guard Call::guard(int32_t when) const {
  return {narrow_ && wide_ ? &report_->use_wide : nullptr, when};
}

// Padding, and how the work is cut into launches and blocks.
void Call::choose() {
  int64_t padded_dim = round_up(problem_.dim, kDimMultiple);
  if (planes_ == Planes::kMedium && narrow_ && !online_ && problem_.gradient) {
    const int64_t register_dim = padded_dim <= 128 ? padded_dim : 256;
    in_registers_ = padded_dim <= 256 && gradient_in_registers(stream_, register_dim);
    if (in_registers_) padded_dim = register_dim;
  }
  for (Tower &tower : towers_) {
    tower.dim = problem_.dim;
    tower.padded_dim = padded_dim;
    tower.padded_rows = round_up(tower.rows, kRowMultiple);
    tower.normalize = problem_.normalize != 0;
  }
  if (!own_negatives() && narrow_) choose_tiles();
}

void Call::choose_tiles() {
  shape_ = shape_of_tiles(stream_, planes_, online_, towers_[kAnchors].padded_dim);
  rows_of_tile_ = rows_of(shape_);
  const int64_t longest = longest_rows(), tile_rows = tiles_of(longest, rows_of_tile_), tiles = tiles_of(longest, kTileColumns);
  const int64_t all = tile_rows * tiles / (one_tower() && !online_ ? 2 : 1);
  tiles_per_run_ = std::clamp<int64_t>(all / (4 * stream_.multiprocessors()), 1, kMostTilesOfRun);
  const int64_t bytes_of_tile_row = longest * int64_t(sizeof(float) + sizeof(int32_t));
  strip_ = std::clamp<int64_t>(kPartialBytes / bytes_of_tile_row, 1, std::min(tile_rows, kMostTileRows));
  if (problem_.gradient && !in_registers_) plan_panel();
}

// A panel that stays in the cache, with as many rows as give every multiprocessor its blocks of the product, or a multiple.
void Call::plan_panel() {
  constexpr int64_t kPanelBytes = int64_t(24) << 20, kLeastTiles = 4, kLeastTileRows = 8;
  const int64_t tile_rows = tiles_of(longest_rows(), rows_of_tile_), tiles = tiles_of(longest_rows(), kTileColumns);
  const int64_t dim_tiles = tiles_of(towers_[kAnchors].padded_dim, kTileColumns);
  const int64_t slots = int64_t(stream_.multiprocessors()) * blocks_of_panel();
  int64_t wanted = 0;
  for (int64_t rounds = 1; wanted < kLeastTileRows; ++rounds) wanted = slots * rounds / dim_tiles;
  panel_tile_rows_ = int32_t(std::min(wanted, tile_rows));
  const int64_t bytes_of_tile = int64_t(planes_) * rows_of_tile_ * kTileColumns * int64_t(sizeof(__nv_bfloat16));
  const int64_t fitting = kPanelBytes / (bytes_of_tile * panel_tile_rows_);
  panel_tiles_ = int32_t(std::min(std::max(fitting, kLeastTiles), tiles));
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
  const float **inputs[kTowers] = {&problem_.anchors, &problem_.keys, &problem_.negatives};
  float **gradients[kTowers] = {&output_.grad_anchors, &output_.grad_keys, &output_.grad_negatives};
  for (int name = kAnchors; name < kTowers; ++name) {
    const TowerName tower = TowerName(name);
    if (!has(tower)) continue;
    if (on_host()) *inputs[name] = cursor.take<float>(size_of(tower));
    if (on_host() && problem_.gradient) *gradients[name] = cursor.take<float>(size_of(tower));
  }
  if (on_host() && problem_.grad_output_count > 0) problem_.grad_output = cursor.take<float>(problem_.grad_output_count);
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
  order_ = cursor.take<int32_t>(int64_t(classes_.order.size()));
  apart_ = cursor.take<Range>(rows);
  members_ = cursor.take<Range>(int64_t(classes_.members.size()));
  class_of_ = cursor.take<int32_t>(int64_t(classes_.class_of.size()));
  large_ = cursor.take<Range>(int64_t(classes_.large.size()));
  class_sums_.sums = cursor.take<double>(int64_t(classes_.large.size()) * problem_.dim);
  class_sums_.squares = cursor.take<double>(int64_t(classes_.large.size()) * problem_.dim);
  pair_logits_.first = cursor.take<double>(rows);
  pair_logits_.slots = cursor.take<double>(classes_.most_partners * rows);
  pair_logits_.stride = rows;
  if (narrow_) {
    const int64_t strip_rows = strip_ * rows_of_tile_;
    const int64_t runs = tiles_of(tiles_of(longest, kTileColumns), tiles_per_run_);
    by_row_.sum = cursor.take<float>(runs * strip_rows);
    by_row_.above = cursor.take<int32_t>(runs * strip_rows);
    by_row_.maximum = online_ ? cursor.take<float>(runs * strip_rows) : nullptr;
    if (!online_ && (one_tower() || problem_.both_directions)) {
      by_column_.sum = cursor.take<float>(strip_ * longest);
      by_column_.above = cursor.take<int32_t>(strip_ * longest);
    }
  }
  if (!problem_.gradient) return;
  const int64_t most = longest * towers_[kAnchors].padded_dim;
  if (narrow_) {
    const int64_t splits = std::max(splits_of(kAnchors, candidates()), splits_of(candidates(), kAnchors));
    accumulators_ = cursor.take<float>(splits * most);
    if (!in_registers_)
      panel_ = cursor.take<__nv_bfloat16>(int64_t(planes_) * panel_tile_rows_ * rows_of_tile_ * panel_tiles_ * kTileColumns);
  }
  if (wide_) {
    wide_accumulators_ = cursor.take<double>(most);
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
    resources_.staging.download(stream_, resources_.all_ready.get(), caller_logits_, logits_, size_t(size) * sizeof(float));
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
  const float *sources[kTowers] = {problem_.anchors, problem_.keys, problem_.negatives};
  for (int name = kAnchors; name < kTowers; ++name) towers_[name].source = sources[name];
  if (!classes_.order.empty()) towers_[kAnchors].order = order_;
}

void Call::upload() {
  const auto copy = [&](const void *to, const void *from, int64_t count, size_t size) {
    if (count > 0) resources_.staging.upload(stream_, const_cast<void *>(to), from, size_t(count) * size);
  };
  const auto copy_all = [&](auto *to, const auto &vector) { copy(to, vector.data(), int64_t(vector.size()), sizeof *to); };
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
  const struct { float *values; int64_t count; } results[] = {
      {wants_row_loss() ? output_.row_loss : nullptr, problem_.rows},
      {problem_.gradient ? output_.grad_anchors : nullptr, size_of(kAnchors)},
      {problem_.gradient ? output_.grad_keys : nullptr, size_of(kKeys)},
      {problem_.gradient ? output_.grad_negatives : nullptr, size_of(kNegatives)}};
  for (const auto &[values, count] : results) spoil(stream_, report_, values, values ? count : 0, output_.scalars);
}

void Call::ask_for_report() {
  check(cudaMemcpyAsync(resources_.report.get(), report_, sizeof(Report), cudaMemcpyDeviceToHost, stream_.handle()),
        "copying from the device");
}

BadRow Call::read_report() {
  stream_.synchronize();
  const Report &report = *resources_.report.get();
  for (const int32_t input : {INFONCE_INPUT_GRAD_OUTPUT, INFONCE_INPUT_ANCHORS, INFONCE_INPUT_KEYS, INFONCE_INPUT_NEGATIVES})
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
  resources_.clock.mark(downloads ? resources_.staging.downloads() : stream_.handle(), Clock::kDownloaded);
  const BadRow bad = read_report();
  if (downloads) check(cudaStreamSynchronize(resources_.staging.downloads()), "copying from the device");
  resources_.clock.read(result_);
  return bad;
}

}  // namespace infonce::cuda
